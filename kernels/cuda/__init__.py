"""CUDA path."""
