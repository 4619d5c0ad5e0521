"""Layers: they hold parameters and call the operations of kernels/."""
