"""Random configurations of every family against the reference: `python tests/sweep.py --path numpy --count 10000`.

Number i of a family is the same configuration on every machine; --first goes on where a run before ended. The arrays
hold small integers, so that sums are exact and must be equal; averages may differ by their divisions' roundings.
"""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import reference
from conftest import PATHS

from backstride.conformance import calls
from backstride.kernels import OPERATIONS
from backstride.kernels.axis import RANKS
from backstride.kernels.layout import NHWC, in_layout
from backstride.kernels.operation import Case, Family, Operation, as_tuple, geometry_of

Random = np.random.Generator


def _int(rng: Random, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


@dataclass(frozen=True)
class Draw:
    """Random sizes for images of so many axes; those of three are smaller."""

    rng: Random
    rank: int

    def extents(self, most: int) -> tuple[int, ...]:
        most = most if self.rank < 3 else most // 2
        return tuple(_int(self.rng, 1, most) for _ in range(self.rank))

    def either(self, low: int, high: int) -> Any:
        """An int, or one for each axis."""
        each = self.rng.random() >= 0.4
        return tuple(_int(self.rng, low, high) for _ in range(self.rank)) if each else _int(self.rng, low, high)

    def padding(self, most: int, *, names: bool = True) -> Any:
        kind = self.rng.random()
        if kind < 0.5:
            return self.either(0, most)
        if kind < 0.85 or not names:
            return tuple((_int(self.rng, 0, most), _int(self.rng, 0, most)) for _ in range(self.rank))
        return str(self.rng.choice(["same", "valid"]))


def _conv(rng: Random, rank: int) -> Case:
    draw, groups = Draw(rng, rank), int(rng.choice([1, 1, 1, 2, 3, 5]))
    channels = 1 if rng.random() < 0.3 else _int(rng, 0 if groups == 1 else 1, 4)  # of a group; 1: depthwise
    w = (groups * _int(rng, 1, 3), channels, *draw.extents(5))
    options = {"stride": draw.either(1, 4), "padding": draw.padding(4), "dilation": draw.either(1, 3)}
    if rng.random() < 0.1:  # windows that tile the image
        options |= {"stride": w[2:], "padding": 0, "dilation": 1}
    return Case("", (_int(rng, 0, 3), groups * channels, *draw.extents(12)), w, {**options, "groups": groups})


def _conv_transpose(rng: Random, rank: int) -> Case:
    draw, groups = Draw(rng, rank), int(rng.choice([1, 1, 2, 3, 6]))
    channels = 1 if rng.random() < 0.4 else _int(rng, 1, 4)
    x = (_int(rng, 0, 3), groups * channels, *draw.extents(7))
    w = (groups * channels, _int(rng, 1, 2), *draw.extents(5))
    options = {"stride": draw.either(1, 4), "padding": draw.padding(2, names=False), "dilation": draw.either(1, 3)}
    if rng.random() < 0.1:
        options |= {"stride": w[2:], "padding": 0, "dilation": 1}
    return Case("", x, w, {**options, "output_padding": draw.either(0, 2), "groups": groups})


def _pool(rng: Random, rank: int, **options: Any) -> Case:
    draw = Draw(rng, rank)
    x = (_int(rng, 0, 3), _int(rng, 0, 3), *draw.extents(13))
    window = {"kernel_size": draw.either(1, 5), "padding": draw.padding(3), "ceil_mode": bool(rng.random() < 0.4)}
    if rng.random() < 0.8:
        window["stride"] = draw.either(1, 5)
    return Case("", x, options={**window, **options})


def _max_pool(rng: Random, rank: int) -> Case:
    return _pool(rng, rank, dilation=Draw(rng, rank).either(1, 3))


def _avg_pool(rng: Random, rank: int) -> Case:
    override = None if rng.random() < 0.7 else int(rng.choice([-3, 1, 2, 7]))
    return _pool(rng, rank, count_include_pad=bool(rng.random() < 0.5), divisor_override=override)


def _adaptive_avg_pool(rng: Random, rank: int) -> Case:
    draw = Draw(rng, rank)
    x = (_int(rng, 0, 3), _int(rng, 0, 3), *draw.extents(13))
    return Case("", x, options={"output_size": draw.either(1, 9 if rank < 3 else 5)})


def _linear(rng: Random, rank: int) -> Case:
    features = _int(rng, 0, 40)
    return Case("", (_int(rng, 0, 20), features), (_int(rng, 0, 20), features), {"batch_axis": _int(rng, 0, 1)})


DRAW: dict[str, Callable[[Random, int], Case]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_avg_pool": _adaptive_avg_pool,
    "linear": _linear,
}


def _channels_last(case: Case) -> Case:
    x, w = (in_layout(shape, True) if shape else () for shape in (case.x, case.w))
    return Case("", x, w, {**case.options, "layout": NHWC})


def drawn(family: Family, rank: int, number: int) -> Case:
    """The first configuration that is allowed, of those that this number gives."""
    rng = np.random.default_rng([zlib.crc32(family.name.encode()), rank, number])
    forward = calls.members(family)[0]
    while True:
        case = DRAW[family.name](rng, rank)
        if rank and rng.random() < 0.3:
            case = _channels_last(case)
        if "activation" in family.options and rng.random() < 0.3:
            case = replace(case, options={**case.options, "activation": "relu"})
        try:
            geometry_of(forward, case)
        except ValueError:
            continue
        return case


def _as_reference(a: Any) -> Any:
    """Taps as the reference has them: -1 stands for none."""
    if not isinstance(a, np.ndarray) or a.dtype.kind != "u":
        return a
    return np.where(a == np.iinfo(a.dtype).max, -1, a.astype(np.int64))


def differs(path: Any, operation: Operation, case: Case, dtype: str, number: int) -> bool:
    rng = np.random.default_rng(number)
    arguments = calls.call(
        operation, case, calls.numbers(operation, lambda each, shape: rng.integers(-4, 5, shape).astype(dtype))
    )
    named = calls.public(operation, case, arguments)
    function = calls.public_function(operation, case)
    ours = as_tuple(path.run(_by_name(function, tuple(named)), *named.values()))
    definition = getattr(reference, operation.name)
    expected = as_tuple(definition(**{name: _as_reference(value) for name, value in named.items()}))
    eps = np.finfo(dtype).eps
    for got, want in zip(map(_as_reference, ours), expected, strict=True):
        if got.shape != want.shape:
            return True
        averages = "avg" in operation.name  # each term is divided, and rounded, once
        allowed = 64 * eps * np.abs(want).max(initial=1) if averages else 0
        got, finite = got.astype(np.float64), np.isfinite(want)
        if not (np.abs(got[finite] - want[finite]) <= allowed).all() or (got[~finite] != want[~finite]).any():
            return True
    return False


def _by_name(function: Callable[..., Any], names: tuple[str, ...]) -> Callable[..., Any]:
    return lambda *values: function(**dict(zip(names, values, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", choices=PATHS, default="numpy")
    parser.add_argument("--family", choices=DRAW, action="append")
    parser.add_argument("--rank", type=int, choices=RANKS, action="append", help="axes (default: one, two and three)")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    families = {operation.family.name: operation.family for operation in OPERATIONS.values()}
    chosen = [
        (families[name], rank)
        for name in args.family or DRAW
        for rank in families[name].ranks
        if rank in (0, *(args.rank or RANKS))
    ]
    failed = 0
    with PATHS[args.path]() as path:
        for family, rank in chosen:
            name = f"{family.name}, {rank} axes" if rank else family.name
            begun, wrong = time.perf_counter(), 0
            for number in range(args.first, args.first + args.count):
                case = drawn(family, rank, number)
                for operation in calls.members(family):
                    if not operation.parts and differs(path, operation, case, args.dtype, number):
                        wrong += 1
                        print(f"number {number} differs: {operation.name} {case.x} {case.w} {case.options}", flush=True)
            seconds = time.perf_counter() - begun
            print(
                f"{name}: {args.count} configurations from {args.first} on, {wrong} wrong, {seconds:.0f} s", flush=True
            )
            failed += wrong
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
