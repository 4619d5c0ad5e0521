"""The engine of the CUDA path: how kernels are loaded and launched, matrix products, sums and windows."""
