"""The engine of the NumPy path: threads, gathered columns, products."""
