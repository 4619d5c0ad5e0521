"""The conformance suite behind `backstride check`: every operation, dtype and awkward shape on the user's own device.

Every result is measured against the NumPy path in float64, in units of the a-priori rounding bound (kernels/bound.py),
and must be the same bits when computed again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from .backend import import_cupy, to_numpy
from .kernels import cpu, cuda
from .kernels.bound import worst
from .kernels.checks import DTYPE_NAMES
from .kernels.geometry import AvgDivisor, Conv2dGeometry, LinearGeometry, Pool2dGeometry
from .shapes import AVG_POOL, CONV, CONV_LARGE, CONV_TRANSPOSE, LINEAR, MAX_POOL, Case

Make = Callable[[tuple[int, ...]], np.ndarray]
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
Calls = Iterator[tuple[str, tuple[Any, ...]]]


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


def _conv(case: Case, make: Make) -> Calls:
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **case.options}
    g = Conv2dGeometry.of("conv2d", case.x, case.w, **options)
    x, w, b, dy = make(g.x_shape), make(g.w_shape), make((g.K,)), make(g.y_shape)
    yield "conv2d", (x, w, b, g)
    yield "conv2d_input_grad", (dy, w, g)
    yield "conv2d_weight_grad", (dy, x, g)
    yield "conv2d_bias_grad", (dy,)


def _conv_transpose(case: Case, make: Make) -> Calls:
    options = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, **case.options}
    g = Conv2dGeometry.of_transposed("conv_transpose2d", case.x, case.w, **options)
    yield "conv_transpose2d", (make(g.y_shape), make(g.w_shape), make((g.C,)), g)


def _max_pool(case: Case, make: Make) -> Calls:
    g = Pool2dGeometry.of("max_pool2d", case.x, **case.options)
    x = make(g.x_shape)
    with np.errstate(invalid="ignore"):
        taps = cpu.max_pool2d(x, g)[1]
    yield "max_pool2d", (x, g)
    yield "max_pool2d_grad", (make(g.y_shape), taps, g)
    yield "max_pool2d_indices", (taps, g)


def _avg_pool(case: Case, make: Make) -> Calls:
    options = dict(case.options)
    divisor = AvgDivisor(options.pop("count_include_pad", True), options.pop("divisor_override", None))
    g = Pool2dGeometry.of("avg_pool2d", case.x, **options)
    yield "avg_pool2d", (make(g.x_shape), g, divisor)
    yield "avg_pool2d_grad", (make(g.y_shape), g, divisor)


def _linear(case: Case, make: Make) -> Calls:
    samples, features = case.x
    for batch_axis in (0, 1):
        g = LinearGeometry(samples, features, case.w[0], batch_axis)
        x, w, dy = make(g.x_shape), make(g.w_shape), make(g.y_shape)
        yield "linear", (x, w, make((g.O,)), g)
        yield "linear_input_grad", (dy, w, g)
        yield "linear_weight_grad", (dy, x, g)
        yield "linear_bias_grad", (dy, batch_axis)


FAMILIES: tuple[tuple[Callable[[Case, Make], Calls], Sequence[Case]], ...] = (
    (_conv, CONV + CONV_LARGE),
    (_conv_transpose, CONV_TRANSPOSE),
    (_max_pool, MAX_POOL),
    (_avg_pool, AVG_POOL),
    (_linear, LINEAR),
)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def _special(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Small integers, hence many ties, with both zeros, both infinities and NaN among them."""
    values = [-2, -1, -0.0, 0.0, 1, 2, np.nan, np.inf, -np.inf]
    return rng.choice(values, shape, p=[0.16, 0.16, 0.17, 0.17, 0.16, 0.16, 0.006, 0.007, 0.007])


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
    """The dtype of this name; bfloat16 needs ml_dtypes (ImportError)."""
    if name != "bfloat16":
        return np.dtype(name)
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
    path, move = (cpu, np.asarray) if backend == "numpy" else (cuda, import_cupy().asarray)
    for calls, family in FAMILIES:
        chosen = [case for case in family if cases is None or case.name in cases]
        for case, dtype, (data, (draw, gaps)) in product(chosen, dtypes, DATA.items()):
            make = partial(_filled, draw, np.random.default_rng(zlib.crc32(case.name.encode())), dtype_named(dtype))
            for operation, arguments in calls(case, make):
                if operations is None or operation in operations:
                    verdict = _check(getattr(path, operation), operation, arguments, move, gaps)
                    yield Outcome(operation, dtype, case.name, data, *verdict)


def _filled(draw: Draw, rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    return draw(rng, shape).astype(dtype)


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
