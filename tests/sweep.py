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
from typing import Any

import numpy as np
import reference
from conftest import PATHS

from backstride import kernels
from backstride.conformance import calls
from backstride.kernels import OPERATIONS
from backstride.kernels.operation import Case, Family, Operation, as_tuple, geometry_of

Random = np.random.Generator


def _int(rng: Random, low: int, high: int) -> int:
    return int(rng.integers(low, high + 1))


def _either(rng: Random, low: int, high: int) -> Any:
    """An int, or an (h, w) pair."""
    return _int(rng, low, high) if rng.random() < 0.4 else (_int(rng, low, high), _int(rng, low, high))


def _padding(rng: Random, most: int, *, names: bool = True) -> Any:
    kind = rng.random()
    if kind < 0.5:
        return _either(rng, 0, most)
    if kind < 0.85 or not names:
        return tuple((_int(rng, 0, most), _int(rng, 0, most)) for _ in range(2))
    return str(rng.choice(["same", "valid"]))


def _conv(rng: Random) -> Case:
    groups = int(rng.choice([1, 1, 1, 2, 3, 5]))
    channels = 1 if rng.random() < 0.3 else _int(rng, 0 if groups == 1 else 1, 4)  # of a group; 1: depthwise
    x = (_int(rng, 0, 3), groups * channels, _int(rng, 1, 12), _int(rng, 1, 12))
    w = (groups * _int(rng, 1, 3), channels, _int(rng, 1, 5), _int(rng, 1, 5))
    options = {"stride": _either(rng, 1, 4), "padding": _padding(rng, 4), "dilation": _either(rng, 1, 3)}
    return Case("", x, w, {**options, "groups": groups})


def _conv_transpose(rng: Random) -> Case:
    groups = int(rng.choice([1, 1, 2, 3, 6]))
    channels = 1 if rng.random() < 0.4 else _int(rng, 1, 4)
    x = (_int(rng, 0, 3), groups * channels, _int(rng, 1, 7), _int(rng, 1, 7))
    w = (groups * channels, _int(rng, 1, 2), _int(rng, 1, 5), _int(rng, 1, 5))
    options = {"stride": _either(rng, 1, 4), "padding": _padding(rng, 2, names=False), "dilation": _either(rng, 1, 3)}
    return Case("", x, w, {**options, "output_padding": _either(rng, 0, 2), "groups": groups})


def _pool(rng: Random, **options: Any) -> Case:
    x = (_int(rng, 0, 3), _int(rng, 0, 3), _int(rng, 1, 13), _int(rng, 1, 13))
    window = {"kernel_size": _either(rng, 1, 5), "padding": _padding(rng, 3), "ceil_mode": bool(rng.random() < 0.4)}
    if rng.random() < 0.8:
        window["stride"] = _either(rng, 1, 5)
    return Case("", x, options={**window, **options})


def _max_pool(rng: Random) -> Case:
    return _pool(rng, dilation=_either(rng, 1, 3))


def _avg_pool(rng: Random) -> Case:
    override = None if rng.random() < 0.7 else int(rng.choice([-3, 1, 2, 7]))
    return _pool(rng, count_include_pad=bool(rng.random() < 0.5), divisor_override=override)


def _adaptive_avg_pool(rng: Random) -> Case:
    x = (_int(rng, 0, 3), _int(rng, 0, 3), _int(rng, 1, 13), _int(rng, 1, 13))
    return Case("", x, options={"output_size": _either(rng, 1, 9)})


def _linear(rng: Random) -> Case:
    features = _int(rng, 0, 40)
    return Case("", (_int(rng, 0, 20), features), (_int(rng, 0, 20), features), {"batch_axis": _int(rng, 0, 1)})


DRAW: dict[str, Callable[[Random], Case]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "adaptive_avg_pool": _adaptive_avg_pool,
    "linear": _linear,
}


def drawn(family: Family, number: int) -> Case:
    """The first configuration that is allowed, of those that this number gives."""
    rng = np.random.default_rng([zlib.crc32(family.name.encode()), number])
    forward = calls.members(family)[0]
    while True:
        case = DRAW[family.name](rng)
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
    ours = as_tuple(path.run(_by_name(operation, tuple(named)), *named.values()))
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


def _by_name(operation: Operation, names: tuple[str, ...]) -> Callable[..., Any]:
    return lambda *values: getattr(kernels, operation.name)(**dict(zip(names, values, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", choices=PATHS, default="numpy")
    parser.add_argument("--family", choices=DRAW, action="append")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    families = {operation.family.name: operation.family for operation in OPERATIONS.values()}
    failed = 0
    with PATHS[args.path]() as path:
        for name in args.family or DRAW:
            begun, wrong = time.perf_counter(), 0
            for number in range(args.first, args.first + args.count):
                case = drawn(families[name], number)
                for operation in calls.members(families[name]):
                    if not operation.parts and differs(path, operation, case, args.dtype, number):
                        wrong += 1
                        print(f"number {number} differs: {operation.name} {case}", flush=True)
            seconds = time.perf_counter() - begun
            print(
                f"{name}: {args.count} configurations from {args.first} on, {wrong} wrong, {seconds:.0f} s", flush=True
            )
            failed += wrong
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
