"""Convolution, pooling and fully connected layers with their gradients, on CuPy (CUDA kernels) and NumPy."""

from .backend import (
    BackendUnavailableError,
    asarray,
    get_array_module,
    get_backend,
    set_backend,
    synchronize,
    to_numpy,
    use_backend,
)
from .version import __version__

__all__ = [
    "BackendUnavailableError",
    "__version__",
    "asarray",
    "get_array_module",
    "get_backend",
    "set_backend",
    "synchronize",
    "to_numpy",
    "use_backend",
]
