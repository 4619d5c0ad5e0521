"""The backend switch: which array library new arrays live in, and moving arrays between the two.

Kernel functions look at the arrays they are given and never at this switch; it decides only where *new*
arrays (parameters, loaded data) are made. This is the one module that imports CuPy.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import cache, wraps
from types import ModuleType
from typing import Any, TypeVar, cast

import numpy as np

from ._extras import ml_dtypes
from ._switch import Switch

NAMES = ("auto", "numpy", "cupy", "compare")
VARIABLE = "BACKSTRIDE_BACKEND"

F = TypeVar("F", bound=Callable[..., Any])

_stand_in: ContextVar[Any] = ContextVar("backstride_stand_in", default=None)


class BackendUnavailableError(RuntimeError):
    """A backend was asked for by name and cannot work here; the message names the failed probe and the mend."""


@dataclass(frozen=True)
class Probe:
    """What the three CuPy probes (import, device, kernel) found; `failed` is None where all three passed."""

    failed: str | None
    reason: str
    mend: str


_TRIVIAL_KERNEL = 'extern "C" __global__ void backstride_probe(int* out) { *out = 42; }'


@cache
def probe_cupy() -> Probe:
    """Try CuPy once per process: it imports, a device answers, a trivial kernel compiles and runs."""
    try:
        cupy = import_cupy()
    except Exception as error:
        return Probe("import", _one_line(error), "pip install 'backstride[cuda12]' (or [cuda13])")
    try:
        cupy.cuda.runtime.getDevice()
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        return Probe("device", _one_line(error), "check that nvidia-smi lists a GPU and the driver is loaded")
    try:
        out = cupy.zeros(1, dtype=np.int32)
        cupy.RawKernel(_TRIVIAL_KERNEL, "backstride_probe")((1,), (1,), (out,))
        if int(out.get()[0]) != 42:
            raise RuntimeError("the trivial kernel ran and wrote a wrong value")
    except Exception as error:
        mend = "install NVRTC and the CUDA headers: pip install 'backstride[cuda12]' (or [cuda13])"
        return Probe("kernel", _one_line(error), mend)
    return Probe(None, f"CuPy {cupy.__version__} runs kernels on {count} device(s)", "")


def import_cupy() -> Any:
    """The cupy module, or what stands in for it during a dry run; ImportError where it is not installed."""
    stand_in = _stand_in.get()
    if stand_in is not None:
        return stand_in
    import cupy  # waits where another thread is importing it

    return cupy


@contextmanager
def stand_in_for_cupy(library: Any) -> Iterator[None]:
    """Inside a with block, for this thread or async task only, import_cupy returns `library`."""
    token = _stand_in.set(library)
    try:
        yield
    finally:
        _stand_in.reset(token)


def _one_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}"


def _resolve(name: str) -> str:
    """'auto' becomes 'cupy' where all probes pass, else 'numpy'; an explicit CuPy backend must work."""
    if name == "numpy":
        return name
    probe = probe_cupy()
    if probe.failed is None:
        return "cupy" if name == "auto" else name
    if name == "auto":
        return "numpy"
    raise BackendUnavailableError(
        f"backend {name!r} is unavailable: the {probe.failed} probe failed ({probe.reason}); "
        f"{probe.mend}, or use backend 'numpy'"
    )


_switch = Switch("backend", NAMES, VARIABLE, _resolve)


def set_backend(name: str) -> None:
    """Select the backend of the whole process: 'auto', 'numpy', 'cupy' or 'compare'.

    Raises ValueError for another name and BackendUnavailableError where CuPy is asked for and cannot work;
    the backend in force then stays.
    """
    _switch.set(name)


def use_backend(name: str) -> AbstractContextManager[None]:
    """Select the backend inside a with block, for this thread or async task only. Raises as set_backend."""
    return _switch.use(name)


def get_backend() -> str:
    """The backend in force: 'numpy', 'cupy' or 'compare'. BACKSTRIDE_BACKEND is read at the first call."""
    return _switch.get()


def is_cupy(array: object) -> bool:
    """True for a CuPy array; never imports CuPy."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, getattr(cupy, "ndarray", ()))  # (): a thread is still importing it


def is_masked(array: object) -> bool:
    """True for a masked array: computing with what its mask hides would be wrong, so it is refused everywhere."""
    return type(array) is not np.ndarray and isinstance(array, np.ndarray) and isinstance(array, np.ma.MaskedArray)


def plain(array: Any) -> Any:
    """An array of a subclass of numpy.ndarray as a numpy.ndarray, so that none of its own operators is met."""
    return array.view(np.ndarray) if type(array) is not np.ndarray and isinstance(array, np.ndarray) else array


def on_device(array: Any) -> AbstractContextManager[Any]:
    """Inside a with block the array's device is the current one, on which CuPy makes new arrays."""
    return array.device if is_cupy(array) else nullcontext()


def quietly(function: F) -> F:
    """`function`, which overflows to infinity and underflows to 0 whatever np.errstate says. It runs in a context of
    its own, which an interrupt cannot keep from ending."""

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        return copy_context().run(ignoring, *arguments, **options)

    ignoring = np.errstate(all="ignore")(function)
    return cast(F, call)


def is_capturing(array: Any) -> bool:
    """Whether work on this array is being captured into a CUDA graph (backstride.capture) rather than run."""
    return is_cupy(array) and import_cupy().cuda.get_current_stream().is_capturing()


def get_array_module(*arrays: object) -> ModuleType:
    """The library (numpy or cupy) that all the arrays belong to; TypeError where they are mixed or not arrays."""
    kinds = ["cupy" if is_cupy(a) else "numpy" if isinstance(a, np.ndarray) else None for a in arrays]
    for array, kind in zip(arrays, kinds, strict=True):
        if kind is None or is_masked(array):
            raise TypeError(f"got a {type(array).__qualname__}; expected a numpy.ndarray or cupy.ndarray")
    if len(set(kinds)) != 1:
        got = ", ".join(map(str, kinds)) or "no arrays"
        raise TypeError(f"got {got}; expected arrays of one library (move them with backstride.asarray)")
    return np if kinds[0] == "numpy" else import_cupy()


def asarray(a: Any, dtype: Any = None) -> Any:
    """`a` as an array of the backend in force, copied only where it must be.

    a: anything numpy.asarray takes, or an array of either library. dtype: of the result; None keeps it, and "bfloat16"
    needs ml_dtypes (MissingExtraError). TypeError for a masked array.
    """
    _refuse_masked("asarray", a)
    if isinstance(dtype, str) and dtype == "bfloat16":
        dtype = ml_dtypes().bfloat16
    if get_backend() == "numpy":
        return np.asarray(a.get() if is_cupy(a) else a, dtype=dtype)
    return import_cupy().asarray(a, dtype=dtype)


def to_numpy(a: Any) -> np.ndarray:
    """`a` as a NumPy array; a CuPy array is copied from its device (which waits for its stream)."""
    _refuse_masked("to_numpy", a)
    return a.get() if is_cupy(a) else np.asarray(a)


def _refuse_masked(function: str, a: object) -> None:
    if is_masked(a):
        raise TypeError(f"{function}: a is a MaskedArray; expected an array without a mask, such as a.filled(0)")


def synchronize() -> None:
    """Wait until the work queued on the current CuPy stream is done; on NumPy nothing is ever pending."""
    if get_backend() != "numpy":
        import_cupy().cuda.get_current_stream().synchronize()
