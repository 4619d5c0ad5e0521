"""The conformance suite behind `backstride check`: every operation, dtype and awkward shape on the user's own device.

Every result is measured against the judging path in float64, in units of the a-priori rounding bound
(kernels/accuracy.py), and must be the same bits when computed again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ..backend import import_cupy, to_numpy
from ..kernels import FUNCTIONS
from ..kernels.accuracy import worst
from ..kernels.cuda.offline.ahead import compile_ahead
from ..kernels.dtypes import NAMES, named
from ..kernels.operation import (
    CUDA,
    Case,
    Compute,
    Function,
    Input,
    Operation,
    as_tuple,
    function_on,
    implementation,
    numpy_path,
    takes_options,
)
from ..kernels.types import Shape
from . import calls

Draw = Callable[[np.random.Generator, Shape], np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """One call's verdict."""

    operation: str
    dtype: str
    case: str
    data: str
    error: float  # of the worst element, in units of the rounding bound; inf where it must be exact and is not
    repeatable: bool  # the second run gave the same bits
    fault: str | None  # what went wrong, or None

    @property
    def passed(self) -> bool:
        return self.fault is None


def _normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.standard_normal(shape)


def _special(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Small integers, hence many ties, with both zeros, both infinities and NaN among them."""
    values = [-2, -1, -0.0, 0.0, 1, 2, np.nan, np.inf, -np.inf]
    return rng.choice(values, shape, p=[0.16, 0.16, 0.17, 0.17, 0.16, 0.16, 0.006, 0.007, 0.007])


def _finite(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    return rng.integers(-2, 3, shape)


def _strided(array: Any) -> Any:
    """The same numbers as every second element of rows twice as long."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    return wide


DATA: dict[str, tuple[Draw, bool]] = {
    "normal": (_normal, False),
    "normal, not contiguous": (_normal, True),
    "ties, infinities, NaN": (_special, False),
}
"""What the arrays hold, and whether they are views with gaps."""


def all_cases(function: Function) -> tuple[Case, ...]:
    """The cases of the function's family that it takes."""
    operation, family = function.operation, function.operation.family
    every = family.cases + family.large_cases
    own = (case for case in every if function_on(operation, case) == function)
    return tuple(case for case in own if takes_options(operation, case.options))


def run(
    backend: str,
    *,
    dtypes: Sequence[str] = NAMES,
    operations: Sequence[str] = tuple(FUNCTIONS),
    cases: Sequence[str] | None = None,
) -> Iterator[Outcome]:
    """Outcomes one by one, as they are computed on `backend` ('cupy' or 'numpy').

    cases: names; None selects all.
    """
    chosen = [
        (FUNCTIONS[name], case, dtype)
        for name in operations
        for case, dtype in product(all_cases(FUNCTIONS[name]), dtypes)
        if cases is None or case.name in cases
    ]
    path, move = (numpy_path(), np.asarray) if backend == "numpy" else (CUDA, import_cupy().asarray)
    if path == CUDA:
        compile_ahead(
            (operation, calls.call(operation, case, calls.bare(named(dtype)))) for (operation, _), case, dtype in chosen
        )
    for function, case, dtype in chosen:
        operation = function.operation
        compute = implementation(operation, path)
        for data, (draw, gaps) in DATA.items():
            arguments = calls.call(operation, case, _make(operation, case, named(dtype), draw))
            yield Outcome(function.name, dtype, case.name, data, *_check(compute, operation, arguments, move, gaps))


def _make(operation: Operation, case: Case, dtype: np.dtype, draw: Draw) -> calls.Make:
    """Makes the same numbers for an input of this name whatever the operation."""

    def drawn(each: Input, shape: Shape) -> np.ndarray:
        rng = np.random.default_rng(zlib.crc32(f"{case.name} {each.name}".encode()))
        chosen = _finite if each.finite and draw is _special else draw
        return chosen(rng, shape).astype(dtype)

    return calls.numbers(operation, drawn)


def _check(
    compute: Compute, operation: Operation, arguments: tuple[Any, ...], move: Callable[..., Any], gaps: bool
) -> tuple[float, bool, str | None]:
    """(error, repeatable, fault) of one call."""

    def moved(argument: Any) -> Any:
        if not isinstance(argument, np.ndarray):
            return argument
        return move(_strided(argument))[..., ::2] if gaps and argument.ndim else move(argument)

    def results() -> tuple[np.ndarray, ...]:
        return tuple(map(to_numpy, as_tuple(compute(*map(moved, arguments)))))

    try:
        with np.errstate(all="ignore"):
            first, second = results(), results()
            deviation = worst(operation, arguments, first)
    except Exception as error:  # a call that cannot be made is one of the suite's findings
        return float("inf"), False, f"{type(error).__name__}: {error}"
    repeatable = all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))
    fault = None if repeatable else "a second run gave other bits"
    if deviation.ratio > 1:
        fault = f"output {deviation.output} at {deviation.index} is {deviation.got}, expected {deviation.expected}"
    return deviation.ratio, repeatable, fault
