"""NumPy path."""
