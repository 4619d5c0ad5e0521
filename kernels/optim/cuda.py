"""Steps and norms on CuPy arrays: one launch for all parameters of a dtype, from a table of their addresses that is
built once and lasts as long as the arrays stay where they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from ...backend import import_cupy, is_capturing
from ..cuda.runtime.arrays import ALIGNMENT
from ..cuda.runtime.errors import reported
from ..cuda.runtime.loader import C_TYPES, kernel, params, source
from ..cuda.runtime.params import Struct
from .rules import Rule
from .tensors import LANES, PIECE, Control, Tensor, by_kind

THREADS = LANES
_SQUARE_SUM = "square_sum.cu"


class Updates:
    """The steps of one rule on one device, which is the current one."""

    def __init__(self, rule: Rule, control: Control) -> None:
        self.rule, self.control = rule, control
        factors = struct(rule.source, "Factors").dtype
        self.factors = import_cupy().empty(len(control.counts) * factors.itemsize, np.uint8)
        self._places: tuple[Any, ...] = ()
        self._table: _Table | None = None
        self._captured: list[_Table] = []  # graphs read them

    def step(self, tensors: Sequence[Tensor]) -> None:
        """Update every tensor once, unless this step is to be left out."""
        with reported(f"a step of {len(tensors)} parameters", self.control.steps.device):
            table = self._of(tensors)
            for array, copy in table.copies:
                copy[...] = array
            for launch in table.step:
                launch()
            for array, copy in table.copies:
                array[...] = copy  # a gradient is what it was

    def square_sum(self, tensors: Sequence[Tensor]) -> Any:
        """The sum of all squares of their gradients, in float64."""
        with reported(f"the norm of {len(tensors)} gradients", self.control.steps.device):
            table, total = self._of(tensors), import_cupy().empty((), np.float64)
            for array, copy in table.copies:
                copy[...] = array
            for launch in table.square_sum:
                launch(total=total)
            return total

    def _of(self, tensors: Sequence[Tensor]) -> _Table:
        """The table of arrays that are where these are."""
        places = tuple(place for t in tensors for place in (t.number, *_place(t.data), *_place(t.grad)))
        capturing = is_capturing(self.control.steps)
        if self._table is None or places != self._places:
            if capturing:
                raise RuntimeError(
                    "an optimizer in a captured step: the gradients are not the arrays of the call before; expected "
                    "the same parameters to have gradients, and these to stay where they are"
                )
            self._table, self._places = _Table(self.rule, self.control, self.factors, tensors), places
        if capturing and self._table not in self._captured:
            self._captured.append(self._table)
        return self._table


def _place(array: Any) -> tuple[Any, ...]:
    return array.data.ptr, array.dtype, array.flags.c_contiguous or array.strides


class _Launch:
    """A kernel with its parameters, ready to be queued again and again."""

    def __init__(self, name: str, entry: str, defines: dict[str, object], blocks: int, values: dict[str, Any]) -> None:
        self.function, self.blocks = kernel(name, entry, defines), blocks
        self.packed = params(name).pack(**values)

    def __call__(self, **pointers: Any) -> None:
        for field, array in pointers.items():
            self.packed[field] = array.data.ptr
        self.function((self.blocks,), (THREADS,), (self.packed,))


@dataclass(frozen=True)
class _Kind:
    """Tensors of one kind. rows: the addresses of their `tensors` and `pieces`."""

    defines: dict[str, object]
    rows: dict[str, int]
    blocks: int


class _Table:
    """The addresses of arrays in a device's memory, and the launches that read them.

    copies: of arrays in other than C order, which the kernels get instead.
    """

    def __init__(self, rule: Rule, control: Control, factors: Any, tensors: Sequence[Tensor]) -> None:
        self.rule, self.control, self.factors, self.parameters = rule, control, factors, len(tensors)
        arrays = [array for t in tensors for array in (t.data, t.grad) if not array.flags.c_contiguous]
        self.copies = [(array, import_cupy().empty(array.shape, array.dtype)) for array in arrays]
        kinds = by_kind(tensors)
        sections = [self._place_rows(tensors)]
        for same in kinds.values():
            sections += self._tensor_rows(same), _piece_rows(same)
        self.memory, addresses = _moved(sections)
        self.places = addresses[0]
        self.kinds = [
            _Kind(defines(*kind), {"tensors": rows, "pieces": pieces}, len(section))
            for kind, rows, pieces, section in zip(kinds, addresses[1::2], addresses[2::2], sections[2::2], strict=True)
        ]

    def _place_rows(self, tensors: Sequence[Tensor]) -> np.ndarray:
        place = struct(self.rule.source, "Place")
        rows = [place.pack(options=t.options, number=t.number, group=t.group) for t in tensors]
        return np.concatenate([np.empty(0, place.dtype), *rows])

    def _tensor_rows(self, tensors: Sequence[Tensor]) -> np.ndarray:
        copies = {id(array): copy for array, copy in self.copies}
        tensor = struct(self.rule.source, "Tensor")
        return np.concatenate(
            [
                tensor.pack(
                    data=copies.get(id(t.data), t.data),
                    master=t.master,
                    **dict(zip(("state0", "state1"), [*t.state.values(), None, None], strict=False)),
                    grad=copies.get(id(t.grad), t.grad),
                    size=t.data.size,
                    number=t.number,
                )
                for t in tensors
            ]
        )

    @property
    def _any_kind(self) -> dict[str, object]:
        return self.kinds[0].defines if self.kinds else defines(np.dtype(np.float32), np.dtype(np.float32))

    @cached_property
    def step(self) -> list[_Launch]:
        control, name = self.control, self.rule.source
        step = {**vars(control), "parameters": self.parameters, "schedule_length": len(control.schedule)}

        def launch(entry: str, defines: dict[str, object], blocks: int, rows: dict[str, Any]) -> _Launch:
            values = {"places": self.places, "factors": self.factors, "step": {**step, **rows}}
            return _Launch(name, entry, defines, blocks, values)

        begin = launch("begin_step", self._any_kind, 1, {"tensors": None, "pieces": None})
        return [begin, *(launch("step", kind.defines, kind.blocks, kind.rows) for kind in self.kinds)]

    @cached_property
    def square_sum(self) -> list[_Launch]:
        """The last one writes to what it is given as `total`."""
        count = sum(kind.blocks for kind in self.kinds)
        self.sums = import_cupy().empty(count, np.float64)
        launches, first = [], 0
        for kind in self.kinds:
            values = {**kind.rows, "sums": self.sums[first:], "count": count, "total": None}
            launches.append(_Launch(_SQUARE_SUM, "square_sum", kind.defines, kind.blocks, values))
            first += kind.blocks
        values = {"tensors": None, "pieces": None, "sums": self.sums, "count": count, "total": None}
        return [*launches, _Launch(_SQUARE_SUM, "fold", self._any_kind, 1, values)]


def defines(dtype: np.dtype, grad_dtype: np.dtype) -> dict[str, object]:
    """The #defines of the kernels for parameters and gradients of these dtypes."""
    types = {"TYPE": C_TYPES[dtype.name], "GRAD_TYPE": C_TYPES[grad_dtype.name]}
    return {**types, "THREADS": THREADS, "PIECE": PIECE}


@cache
def struct(name: str, which: str) -> Struct:
    """A struct of a .cu file."""
    return Struct.of(source(name, {}), which)


def _piece_rows(tensors: Sequence[Tensor]) -> np.ndarray:
    counts = [-(-t.data.size // PIECE) for t in tensors]
    rows = np.empty(sum(counts), struct(_SQUARE_SUM, "Piece").dtype)
    rows["tensor"] = np.repeat(np.arange(len(tensors)), counts)
    rows["place"] = np.concatenate([np.arange(count) for count in counts])
    return rows


def _moved(sections: Sequence[np.ndarray]) -> tuple[Any, list[int]]:
    """One array on the device that holds all the sections, and their addresses."""
    ends = np.cumsum([-(-section.nbytes // ALIGNMENT) * ALIGNMENT for section in sections])
    starts = [0, *map(int, ends[:-1])]
    host = np.zeros(max(int(ends[-1]), 1), np.uint8)
    for start, section in zip(starts, sections, strict=True):
        host[start : start + section.nbytes] = section.view(np.uint8)
    memory = import_cupy().asarray(host)
    return memory, [memory.data.ptr + start for start in starts]
