"""What the launchers would do on a GPU that is not here: they run as they are over a CuPy that has shapes but no data.

Every launch is recorded with its exact source, so whatever is shown or compiled from a dry run is what a GPU would get.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np

from ....backend import import_cupy, stand_in_for_cupy
from ..gemm import decisions
from ..gemm.decisions import Decisions

_DEFINE = re.compile(r"^#define (\w+) (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Launch:
    """One kernel launch: the complete CUDA text, its entry point, and the launch configuration."""

    text: str
    entry: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared_bytes: int

    @property
    def blocks(self) -> int:
        return math.prod(self.grid)

    @property
    def threads(self) -> int:
        return math.prod(self.block)

    @cached_property
    def defines(self) -> dict[str, str]:
        """The #defines that the text begins with: what this variant was specialised for."""
        head = re.match(r"(#define .+\n)*", self.text)
        return dict(_DEFINE.findall(head[0])) if head else {}

    @property
    def is_product(self) -> bool:
        """Whether it is a matrix product, by tiles."""
        return "TILE_M" in self.defines


@dataclass
class Recording:
    """The launches of one call in their order, what was decided, and the bytes allocated beside the outputs."""

    launches: list[Launch] = field(default_factory=list)
    decisions: Decisions = field(default_factory=Decisions)
    allocated: int = 0
    outputs: tuple[DryArray, ...] = ()

    @property
    def workspace_bytes(self) -> int:
        return self.allocated - sum(output.nbytes for output in self.outputs)


class DryArray:
    """A device array of which only shape, dtype and address exist, and whether it is C-contiguous."""

    data: Any = SimpleNamespace(ptr=0)

    def __init__(self, shape: tuple[int, ...] | int, dtype: Any, device: Device, *, c_contiguous: bool = True) -> None:
        self.shape = (shape,) if isinstance(shape, int) else tuple(shape)
        self.dtype = np.dtype(dtype)
        self.device = device
        self.flags = SimpleNamespace(c_contiguous=c_contiguous)

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))
    itemsize = property(lambda self: self.dtype.itemsize)
    nbytes = property(lambda self: self.size * self.itemsize)

    def reshape(self, *shape: Any) -> DryArray:
        wanted = shape[0] if isinstance(shape[0], tuple) else shape
        known = math.prod(extent for extent in wanted if extent != -1)
        return DryArray(tuple(self.size // known if e == -1 else e for e in wanted), self.dtype, self.device)

    def transpose(self, *axes: int) -> DryArray:
        order = [axis for axis in axes if self.shape[axis] != 1]
        kept = self.size == 0 or order == sorted(order)
        return DryArray(tuple(self.shape[axis] for axis in axes), self.dtype, self.device, c_contiguous=kept)

    def copy(self) -> DryArray:
        copied: DryArray = import_cupy().empty(self.shape, self.dtype)
        return copied

    def __getitem__(self, rows: slice) -> DryArray:
        return DryArray((len(range(*rows.indices(self.shape[0]))), *self.shape[1:]), self.dtype, self.device)


@dataclass(frozen=True)
class Device:
    """A device of compute capability sm / 10; it is its own id, so that caches keyed on devices tell it apart."""

    sm: int
    multiprocessors: int

    id = property(lambda self: self)
    compute_capability = property(lambda self: str(self.sm))
    attributes = property(lambda self: {"MultiProcessorCount": self.multiprocessors})

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


class DryCupy:
    """The part of CuPy that the launchers use, on one device, writing into one recording.

    Equal where the devices are, so that what the loader keeps for one serves all.
    """

    ndarray: type[DryArray] = DryArray
    compiles = False

    def __init__(self, device: Device) -> None:
        self.recording = Recording()
        self._device = device
        self.cuda = SimpleNamespace(
            Device=lambda device=device: device,
            runtime=SimpleNamespace(getDevice=lambda: device),
            compiler=SimpleNamespace(CompileException=_Never),
            memory=SimpleNamespace(OutOfMemoryError=_Never),
        )

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, DryCupy) and other._device == self._device

    def __hash__(self) -> int:
        return hash((type(self), self._device))

    def empty(self, shape: tuple[int, ...] | int, dtype: Any) -> DryArray:
        array = DryArray(shape, dtype, self._device)
        self.recording.allocated += array.nbytes
        return array

    zeros = empty

    def ascontiguousarray(self, array: DryArray) -> DryArray:
        return array if array.flags.c_contiguous else array.copy()

    def RawModule(self, *, code: str, options: tuple[str, ...]) -> Any:
        return SimpleNamespace(get_function=lambda entry: _Kernel(code, entry))


class _Never(Exception):
    """What a dry run does not raise."""


@dataclass
class _Kernel:
    """Loader caches keep it, so it asks at each launch which recording is being made."""

    text: str
    entry: str
    shared_size_bytes: int = 0
    max_dynamic_shared_size_bytes: int = 0

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Any, *, shared_mem: int = 0) -> None:
        import_cupy().recording.launches.append(Launch(self.text, self.entry, grid, block, shared_mem))


def dry_run(compute: Callable[..., Any], arguments: tuple[Any, ...], device: Device) -> Recording:
    """Record what `compute`, a function of kernels.cuda, does with these arguments on this device.

    Of the arrays among the arguments only shape and dtype are read.
    """
    cupy = DryCupy(device)

    def dry(argument: Any) -> Any:
        return DryArray(argument.shape, argument.dtype, device) if hasattr(argument, "dtype") else argument

    recording = cupy.recording
    with stand_in_for_cupy(cupy), decisions.recorded() as recording.decisions:
        result = compute(*map(dry, arguments))
    recording.outputs = result if isinstance(result, tuple) else (result,)
    return recording
