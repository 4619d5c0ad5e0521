"""Convolution, pooling and fully connected layers with their gradients, on CuPy (CUDA kernels) and NumPy."""

from typing import TYPE_CHECKING, Any

from . import kernels, layers, models, optim
from ._version import __version__
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
from .batch_invariance import get_batch_invariant, set_batch_invariant, use_batch_invariant
from .capture import capture
from .conformance.recording import record_shapes
from .fold import fold
from .jit import get_jit, set_jit, use_jit
from .kernels.cuda.tuning import tuning
from .precision import get_float32_precision, set_float32_precision, use_float32_precision
from .weights import load_weights, save_weights

if TYPE_CHECKING:
    from .explanation import explain

__all__ = [
    "BackendUnavailableError",
    "__version__",
    "asarray",
    "capture",
    "explain",
    "fold",
    "get_array_module",
    "get_backend",
    "get_batch_invariant",
    "get_float32_precision",
    "get_jit",
    "kernels",
    "layers",
    "load_weights",
    "models",
    "optim",
    "record_shapes",
    "save_weights",
    "set_backend",
    "set_batch_invariant",
    "set_float32_precision",
    "set_jit",
    "synchronize",
    "to_numpy",
    "tuning",
    "use_backend",
    "use_batch_invariant",
    "use_float32_precision",
    "use_jit",
]


def __getattr__(name: str) -> Any:
    """`explain`, with all that it writes by: training does not wait for it."""
    if name == "explain":
        from .explanation import explain

        return explain
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
