"""Blocked and specialised algorithms on NumPy, until the compiled path takes their place."""
