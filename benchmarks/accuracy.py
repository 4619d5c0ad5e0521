"""Is a result right? Every contestant is checked against double precision before it is timed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import backend
from ..kernels.operation import Function, as_tuple
from .cases import Workload, awkward_cases, peers_of
from .peers import TEXTBOOK

TOLERANCE = {"float64": 1e-13, "float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}
"""Error allowed, as a share of the exact result's largest magnitude.

16-bit: two roundings of the result (2 * 2**-11, 2 * 2**-8) and some. float32 and float64: what minimal filtering
costs; PyTorch's Winograd errs by up to 5e-6 of the largest output, plain sums by 1e-6, TF32 by 5e-4.
"""


@dataclass(frozen=True)
class Verdict:
    """`error`: the largest difference from the exact result, over that result's largest magnitude.

    `fault` says what is wrong, None where nothing is; `declined` why a candidate does not take the shape.
    """

    error: float
    fault: str | None = None
    declined: str | None = None


def exact(case: Workload) -> tuple[np.ndarray, ...]:
    """The case's results by the textbook form in double precision, which shares nothing with what is judged."""
    with backend.use_backend("numpy"):
        return _positions(case, as_tuple(TEXTBOOK.prepare(case.in_float64())()))


def judge(
    case: Workload,
    result: Any,
    expected: Sequence[np.ndarray],
    to_numpy: Callable[[Any], np.ndarray] = backend.to_numpy,
    tolerance: float | None = None,
) -> Verdict:
    """Compare what a contestant returned with exact(case); `tolerance` None is the dtype's."""
    results = _positions(case, tuple(map(to_numpy, as_tuple(result))))
    if len(results) != len(expected):
        return Verdict(np.inf, f"returned {len(results)} arrays; expected {len(expected)}")
    tolerance = TOLERANCE[case.dtype] if tolerance is None else tolerance
    worst = 0.0
    for got, want in zip(results, expected, strict=True):
        if got.shape != want.shape:
            return Verdict(np.inf, f"returned shape {got.shape}; expected {want.shape}")
        if want.dtype.kind == "i":
            if not np.array_equal(got, want):
                return Verdict(np.inf, f"{np.count_nonzero(got != want)} of {want.size} taps differ")
        else:
            worst = max(worst, _error(got.astype(np.float64), want))
    fault = None if worst <= tolerance else f"error {worst:.1e} of the largest magnitude; allowed {tolerance:.1e}"
    return Verdict(worst, fault)


def _error(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference over the largest magnitude; infinities (a pool's window in padding) must be equal, and so
    must NaN (a mean of nothing)."""
    apart = (got != want) & ~(np.isnan(got) & np.isnan(want))
    if not apart.any():
        return 0.0
    largest = np.abs(want).max(where=np.isfinite(want), initial=0.0) or 1.0
    with np.errstate(invalid="ignore"):
        error = float(np.abs(got[apart] - want[apart]).max() / largest)
    return np.inf if np.isnan(error) else error


_MAY_LACK = ("layout", "activation")


def conform(function: Callable[..., Any], signature: Function, dtype: str) -> Iterator[tuple[Workload, Verdict]]:
    """Run a user's own function, with this one's signature, on the configurations of the conformance suite.

    exact() says what is right. It may decline one with NotImplementedError, and channels last or a ReLU that follows by
    having no option `layout` or `activation`; any other exception is a fault. Its NumPy inputs are read-only.
    """
    for case in awkward_cases(signature, dtype):
        lacking = without_option(function, case)
        if lacking is not None:
            yield case, Verdict(0.0, declined=lacking)
            continue
        expected = exact(case)
        try:
            result = replace(case, arrays=case.convert(_read_only)).prepare(function)()
            verdict = judge(case, result, expected)
        except NotImplementedError as declined:
            verdict = Verdict(0.0, declined=str(declined) or "NotImplementedError")
        except Exception as error:  # a user's function may fail in any way, and each is an answer
            verdict = Verdict(np.inf, f"{type(error).__name__}: {error}")
        yield case, verdict


def without_option(function: Callable[..., Any], case: Workload) -> str | None:
    """Why a user's function is not asked for a case: its signature lacks an option that it need not have."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # it has none that can be read
        return None
    if any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return None
    lacking = [name for name in _MAY_LACK if name in case.configuration.options and name not in parameters]
    return f"it has no option {lacking[0]}" if lacking else None


def _read_only(a: np.ndarray) -> np.ndarray:
    copy = a.copy()
    copy.flags.writeable = False
    return copy


def _positions(case: Workload, results: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Max pooling's taps as positions in the plane, which is what PyTorch returns; other results as they are."""
    names = [output.name for output in case.operation.outputs]
    if "taps" not in names or len(results) != len(names):
        return results
    taps = results[names.index("taps")]
    if taps.dtype == np.int64:
        return results
    positions = peers_of(case.operation).positions_of(taps, case.geometry)
    return tuple(positions if a is taps else a for a in results)
