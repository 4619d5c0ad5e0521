"""The compiled CPU engine: loops and vector instructions that Numba makes of Python, for contiguous arrays."""
