"""What a path function launches depends on its arguments' shapes, not on their addresses: the launches of its first
call are kept, and further calls only fill in the new addresses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ....backend import import_cupy
from ....batch_invariance import get_batch_invariant
from ....precision import get_float32_precision
from .answers import in_force
from .arrays import contiguous
from .params import Struct

MOST_CALLS = 4096


class _Local(threading.local):
    """Of each thread, because a kept launch's parameters are changed in place."""

    def __init__(self) -> None:
        self.first_call: FirstCall | None = None
        self.calls: dict[Any, KeptCall] = {}


_local = _Local()


class Pointer(NamedTuple):
    """A pointer among a launch's parameters: the 8-byte word it is in, and the array and byte it points to."""

    word: int
    array: int
    offset: int


class KeptLaunch(NamedTuple):
    function: Any
    grid: tuple[int]
    block: tuple[int]
    shared: int
    packed: np.ndarray
    words: memoryview
    pointers: tuple[Pointer, ...]


@dataclass(frozen=True)
class KeptCall:
    """What a call allocates, launches and returns; arrays are numbered, first its arguments and then these.

    results: each one's number, and its shape where that is not the array's own.
    """

    allocations: tuple[tuple[tuple[int, ...], np.dtype], ...]
    launches: tuple[KeptLaunch, ...]
    results: tuple[tuple[int, tuple[int, ...] | None], ...]
    returns_tuple: bool

    def again(self, given: list[Any], empty: Callable[..., Any]) -> Any:
        arrays = [*given, *[empty(shape, dtype) for shape, dtype in self.allocations]]
        addresses = [array.data.ptr for array in arrays]
        for function, grid, block, shared, packed, words, pointers in self.launches:
            for word, array, offset in pointers:
                words[word] = addresses[array] + offset
            function(grid, block, (packed,), shared_mem=shared)
        results = [arrays[place] if shape is None else arrays[place].reshape(shape) for place, shape in self.results]
        return tuple(results) if self.returns_tuple else results[0]


@dataclass
class FirstCall:
    """A call as it is made. `arrays`: its arguments and what it allocates, kept so that no address is given twice."""

    arrays: list[Any]
    given: int
    launches: list[KeptLaunch] = field(default_factory=list)
    complete: bool = True

    def note(
        self, function: Any, grid: tuple[int], block: tuple[int], struct: Struct, packed: np.ndarray, shared: int
    ) -> None:
        words, pointers = packed.view(np.uint64).data, []
        for word in struct.pointer_words:
            address = words[word]
            place = self.holder(address) if address else None
            if place:
                pointers.append(Pointer(word, *place))
        self.launches.append(KeptLaunch(function, grid, block, shared, packed, words, tuple(pointers)))

    def holder(self, address: int) -> tuple[int, int] | None:
        """The one array that an address lies in, and how far; where there are several, nothing can be kept."""
        found = [
            (place, address - array.data.ptr)
            for place, array in enumerate(self.arrays)
            if array.data.ptr <= address < array.data.ptr + array.nbytes
        ]
        if len(found) == 1:
            return found[0]
        self.complete = False
        return None

    def kept(self, result: Any) -> KeptCall | None:
        """What was recorded; None where another call with these shapes may need other launches."""
        results = result if isinstance(result, tuple) else (result,)
        places = [(self.holder(each.data.ptr), each.shape) for each in results if each.size]
        if not self.complete or len(places) < len(results):
            return None
        return KeptCall(
            tuple((array.shape, array.dtype) for array in self.arrays[self.given :]),
            tuple(self.launches),
            tuple(
                (place[0], None if self.arrays[place[0]].shape == shape else shape) for place, shape in places if place
            ),
            isinstance(result, tuple),
        )


def note(function: Any, grid: tuple[int], block: tuple[int], struct: Struct, packed: np.ndarray, shared: int) -> None:
    """Record a launch, where a first call is being made."""
    if _local.first_call:
        _local.first_call.note(function, grid, block, struct, packed, shared)


def empty(shape: tuple[int, ...] | int, dtype: Any) -> Any:
    """A new array for an output or for partial sums."""
    array = import_cupy().empty(shape, dtype)
    if _local.first_call:
        _local.first_call.arrays.append(array)
    return array


def forget() -> None:
    """Forget this thread's kept launches, for tests that change what a launcher would do."""
    _local.calls.clear()


def repeated(cupy: Any, operation: Callable[..., Any], arguments: tuple[Any, ...], device: int) -> Any:
    """operation(*arguments), its arrays made contiguous and aligned, by the kept launches where there are any.

    Arguments that are no arrays can be hashed.
    """
    ndarray, given, normal = cupy.ndarray, [], []
    key = [cupy, operation, device, get_float32_precision(), get_batch_invariant(), in_force()]
    for argument in arguments:
        if isinstance(argument, ndarray):
            argument = contiguous(argument)
            given.append(argument)
            key += argument.shape, argument.dtype
        else:
            key.append(argument)
        normal.append(argument)
    kept = tuple(key)
    calls = _local.calls
    call = calls.get(kept)
    if call is not None:
        return call.again(given, cupy.empty)
    if _local.first_call:
        return operation(*normal)
    first_call = _local.first_call = FirstCall(given[:], len(given))
    try:
        result = operation(*normal)
    finally:
        _local.first_call = None
    call = first_call.kept(result)
    if call:
        if len(calls) >= MOST_CALLS:
            calls.clear()
        calls[kept] = call
    return result
