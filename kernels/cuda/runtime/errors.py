"""What can still fail once the arguments are checked, said in the caller's terms."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ....backend import import_cupy
from ...operation import function_of
from .replay import repeated

F = TypeVar("F", bound=Callable[..., Any])


def launcher(operation: F) -> F:
    """A path function that runs on the device of its first argument and reports failures with operation and shapes.

    RuntimeError where a kernel does not compile, MemoryError where the device is out of memory.
    """

    @functools.wraps(operation)
    def run(*arguments: Any) -> Any:
        cupy, device = import_cupy(), arguments[0].device
        try:
            with device:
                return repeated(cupy, operation, arguments, device.id)
        except (cupy.cuda.compiler.CompileException, cupy.cuda.memory.OutOfMemoryError) as error:
            raise _told(error, _call(operation, arguments), device) from error

    return run  # type: ignore[return-value]


def _public_name(operation: str, geometry: Any) -> str:
    from ... import OPERATIONS  # which holds all rooms

    return function_of(OPERATIONS[operation], geometry).name if operation in OPERATIONS else operation


@contextmanager
def reported(what: str, device: Any) -> Iterator[None]:
    """Failures in a with block as `launcher` reports them; what: is being done on this device."""
    cuda = import_cupy().cuda
    try:
        yield
    except (cuda.compiler.CompileException, cuda.memory.OutOfMemoryError) as error:
        raise _told(error, what, device) from error


def _told(error: Exception, call: str, device: Any) -> Exception:
    if isinstance(error, import_cupy().cuda.memory.OutOfMemoryError):
        return MemoryError(
            f"{call}: device {device.id} is out of memory ({error}); use a smaller batch, "
            "or free arrays and call cupy.get_default_memory_pool().free_all_blocks()"
        )
    return RuntimeError(
        f"{call}: the CUDA kernel did not compile for device {device.id}; check that "
        f"CuPy's NVRTC supports this GPU, and report this with the message below\n{error}"
    )


def _call(operation: Callable[..., Any], arguments: tuple[Any, ...]) -> str:
    arrays = [a for a in arguments if isinstance(a, import_cupy().ndarray)]
    return f"{_public_name(operation.__name__, arguments[-1])}({', '.join(f'{a.dtype} {a.shape}' for a in arrays)})"
