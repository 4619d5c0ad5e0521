"""backstride in other libraries' programs."""
