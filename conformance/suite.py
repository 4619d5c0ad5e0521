"""The conformance suite behind `backstride check`: every operation, dtype and awkward shape on the user's own device.

Every result is measured against the NumPy path in float64, in units of the a-priori rounding bound (kernels/bound.py),
and must be the same bits when computed again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from .._extras import needed_for
from ..backend import import_cupy, to_numpy
from ..kernels import __all__ as OPERATIONS
from ..kernels.accuracy import worst
from ..kernels.checks import DTYPE_NAMES
from ..kernels.conv.cases import CONV, CONV_LARGE, CONV_TRANSPOSE
from ..kernels.cuda.offline.ahead import compile_ahead
from ..kernels.dispatch import cpu, cuda
from ..kernels.linear.cases import LINEAR
from ..kernels.operation import Case
from ..kernels.pool.cases import AVG_POOL, MAX_POOL
from ..kernels.pool.geometry import PoolGeometry
from . import calls

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


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


CallsOf = Callable[[Case, calls.Maker], calls.Calls]
SUITE: tuple[tuple[CallsOf, Sequence[Case]], ...] = (
    (calls.conv, CONV + CONV_LARGE),
    (calls.conv_transpose, CONV_TRANSPOSE),
    (calls.max_pool, MAX_POOL),
    (calls.avg_pool, AVG_POOL),
    (calls.linear, LINEAR),
    (calls.linear, [replace(case, name=f"{case.name}-columns", options={"batch_axis": 1}) for case in LINEAR]),
)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def _special(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Small integers, hence many ties, with both zeros, both infinities and NaN among them."""
    values = [-2, -1, -0.0, 0.0, 1, 2, np.nan, np.inf, -np.inf]
    return rng.choice(values, shape, p=[0.16, 0.16, 0.17, 0.17, 0.16, 0.16, 0.006, 0.007, 0.007])


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Finite, so that infinities and NaN come out only where they went in."""
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


def dtype_named(name: str) -> np.dtype:
    """The dtype of this name; bfloat16 needs ml_dtypes (MissingExtraError)."""
    if name != "bfloat16":
        return np.dtype(name)
    with needed_for("bfloat16", "test"):
        import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16)


def run(
    backend: str,
    *,
    dtypes: Sequence[str] = DTYPE_NAMES,
    operations: Sequence[str] | None = None,
    cases: Sequence[str] | None = None,
) -> Iterator[Outcome]:
    """Outcomes one by one, as they are computed on `backend` ('cupy' or 'numpy'); None selects everything."""
    wanted = OPERATIONS if operations is None else operations
    chosen = [
        (calls_of, case, dtype)
        for calls_of, family in SUITE
        for case, dtype in product(family, dtypes)
        if cases is None or case.name in cases
    ]
    path: Any = cpu if backend == "numpy" else cuda
    move = np.asarray if backend == "numpy" else import_cupy().asarray
    if path is cuda:
        bare = (call for of, case, dtype in chosen for call in of(case, calls.bare(dtype_named(dtype))))
        compile_ahead(call for call in bare if call[0] in wanted)
    for calls_of, case, dtype in chosen:
        for data, (draw, gaps) in DATA.items():
            fill = partial(_filled, np.random.default_rng(zlib.crc32(case.name.encode())), dtype_named(dtype))
            make = calls.Maker(partial(fill, draw), partial(fill, _weights if draw is _special else draw), _taps)
            for operation, arguments in calls_of(case, make):
                if operation in wanted:
                    verdict = _check(getattr(path, operation), operation, arguments, move, gaps)
                    yield Outcome(operation, dtype, case.name, data, *verdict)


def _filled(rng: np.random.Generator, dtype: np.dtype, draw: Draw, shape: tuple[int, ...]) -> np.ndarray:
    return draw(rng, shape).astype(dtype)


def _taps(x: np.ndarray, geometry: PoolGeometry) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return cpu.max_pool2d(x, geometry)[1]


def _check(
    compute: Callable[..., Any], operation: str, arguments: tuple[Any, ...], move: Callable[..., Any], gaps: bool
) -> tuple[float, bool, str | None]:
    """(error, repeatable, fault) of one call."""

    def moved(argument: Any) -> Any:
        if not isinstance(argument, np.ndarray):
            return argument
        return move(_strided(argument))[..., ::2] if gaps else move(argument)

    def results() -> tuple[np.ndarray, ...]:
        result = compute(*map(moved, arguments))
        return tuple(map(to_numpy, result)) if isinstance(result, tuple) else (to_numpy(result),)

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
