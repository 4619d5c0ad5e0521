"""What every operation promises about arrays: any strides, read-only inputs, fresh outputs, the same bits each time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from accuracy import DTYPES, dtype_of, integers
from small_cases import SMALL

import backstride
from backstride import kernels
from backstride.conformance import calls
from backstride.kernels import OPERATIONS
from backstride.kernels.operation import Case, Operation, as_tuple, geometry_of

CALLS: dict[str, tuple[Operation, Case]] = {
    **SMALL,
    **{
        f"{name} in columns": (operation, Case("", (5, 7), (6, 7), {"batch_axis": 1}))
        for name, operation in OPERATIONS.items()
        if operation.family.name == "linear"
    },
    "conv2d 1x1": (OPERATIONS["conv"], Case("", (3, 4, 9, 8), (6, 4, 1, 1))),
    "conv2d depthwise": (OPERATIONS["conv"], Case("", (3, 4, 9, 8), (4, 1, 3, 3), {"groups": 4})),
    "avg_pool2d 1x1": (OPERATIONS["avg_pool"], Case("", (3, 4, 9, 8), (), {"kernel_size": 1})),
    "max_pool2d 1x1": (OPERATIONS["max_pool"], Case("", (3, 4, 9, 8), (), {"kernel_size": 1})),
    **{
        f"{name} NHWC": (OPERATIONS[name], Case("", (3, 5, 4, 16), (), {"kernel_size": 2, "layout": "NHWC"}))
        for name in ("max_pool", "max_pool_grad", "avg_pool", "avg_pool_grad")
    },
}


def make(call: str, dtype: str, rng: np.random.Generator) -> list[np.ndarray]:
    """The arrays of a call: small integers, so that sums are exact whatever their order."""
    operation, case = CALLS[call]
    drawn = calls.numbers(operation, lambda each, shape: integers(rng, shape).astype(dtype_of(dtype)))
    return list(calls.call(operation, case, drawn)[:-1])


def run(call: str, arrays: list[Any]) -> tuple[Any, ...]:
    """The outputs of a call on arrays of one library."""
    operation, case = CALLS[call]
    arguments = calls.public(operation, case, (*arrays, geometry_of(operation, case)))
    return as_tuple(calls.public_function(operation, case)(**arguments))


def every_axis(*index: int | None) -> Callable[[Any], tuple[slice, ...]]:
    return lambda a: (slice(*index),) * a.ndim


def reversed_axes(path, a):
    return path.asarray(np.ascontiguousarray(a.T)).T


def negative_strides(path, a):
    flip = every_axis(None, None, -1)(a)
    return path.asarray(np.ascontiguousarray(a[flip]))[flip]


def every_other(path, a):
    base = np.full([2 * extent for extent in a.shape], 99).astype(a.dtype)
    view = every_axis(1, None, 2)(a)
    base[view] = a
    return path.asarray(base)[view]


def inside_larger(path, a):
    base = np.full([extent + 3 for extent in a.shape], 99).astype(a.dtype)
    view = every_axis(1, -2)(a)
    base[view] = a
    return path.asarray(base)[view]


LAYOUTS = [reversed_axes, negative_strides, every_other, inside_larger]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("call", CALLS)
def test_strides(path, call, layout, rng):
    arrays = make(call, "float32", rng)
    expected = run(call, [path.asarray(a) for a in arrays])
    for got, same in zip(run(call, [layout(path, a) for a in arrays]), expected, strict=True):
        assert got.flags.c_contiguous
        np.testing.assert_array_equal(path.to_numpy(got), path.to_numpy(same), strict=True)


@pytest.mark.parametrize("call", CALLS)
def test_one_element_in_every_place(path, call, rng):
    """Arrays with strides of 0, as broadcasting makes them."""
    arrays = [np.broadcast_to(a.reshape(-1)[:1].reshape((1,) * a.ndim), a.shape) for a in make(call, "float32", rng)]
    xp = backstride.get_array_module(path.asarray(arrays[0]))
    spread = [xp.broadcast_to(path.asarray(a[(slice(1),) * a.ndim]), a.shape) for a in arrays]
    for got, same in zip(run(call, spread), run(call, [path.asarray(a) for a in arrays]), strict=True):
        np.testing.assert_array_equal(path.to_numpy(got), path.to_numpy(same), strict=True)


@pytest.mark.parametrize("call", CALLS)
def test_fields_of_records(call, rng):
    """NumPy alone: strides that are no multiple of the element, at odd addresses."""
    arrays = make(call, "float32", rng)
    expected = run(call, arrays)
    fields = []
    for a in arrays:
        records = np.zeros(a.shape, np.dtype([("odd", np.uint8), ("value", a.dtype)]))
        records["value"] = a
        fields.append(records["value"])
    for got, same in zip(run(call, fields), expected, strict=True):
        np.testing.assert_array_equal(got, same, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("call", CALLS)
def test_dtype_of_the_result(path, call, dtype, rng):
    outputs = run(call, [path.asarray(a) for a in make(call, dtype, rng)])
    name = CALLS[call][0].name
    expected = {"max_pool": ["float", "uint8"], "max_pool_indices": ["int64"]}
    sums = "float64" if dtype == "float64" else "float32"
    if CALLS[call][0].family.room == "loss":
        expected[name] = [sums, "float"]
    if "_norm" in call and call != "batch_norm_inference":  # statistics, and the gradients of gamma and beta
        expected[name] = ["float", sums, sums, "float"][: len(outputs)]
    names = expected.get(name, ["float"] * len(outputs))
    assert [a.dtype for a in outputs] == [dtype_of(dtype if name == "float" else name) for name in names]


@pytest.mark.parametrize("call", CALLS)
def test_outputs_are_fresh_and_writable(call, rng):
    """No output shares memory with an input, even where the operation is the identity."""
    arrays = make(call, "float32", rng)
    for output in run(call, arrays):
        assert output.flags.writeable
        assert not any(np.shares_memory(output, a) for a in arrays)


@pytest.mark.parametrize("call", CALLS)
def test_later_calls_leave_earlier_results_alone(path, call, rng):
    """An output is not a buffer that the next call reuses."""
    first, second = ([path.asarray(a) for a in make(call, "float32", rng)] for _ in range(2))
    kept = run(call, first)
    before = [path.to_numpy(a).tobytes() for a in kept]
    run(call, second)
    assert [path.to_numpy(a).tobytes() for a in kept] == before


LARGE: dict[str, tuple[tuple[Any, ...], tuple[Any, ...], dict[str, Any]]] = {
    "conv2d": (((9, 32, 30, 31), (40, 32, 3, 3), (40,)), (), {"padding": 1}),
    "conv2d_input_grad": (((9, 40, 30, 31), (40, 32, 3, 3)), ((9, 32, 30, 31),), {"padding": 1}),
    "conv2d_weight_grad": (((9, 40, 30, 31), (9, 32, 30, 31)), ((40, 32, 3, 3),), {"padding": 1}),
    "conv2d_bias_grad": (((9, 40, 30, 31),), (), {}),
    "avg_pool2d": (((9, 32, 30, 31),), (3,), {"stride": 1}),
    "avg_pool2d_grad": (((9, 32, 28, 29),), ((9, 32, 30, 31), 3), {"stride": 1}),
    "linear": (((300, 500), (200, 500), (200,)), (), {}),
    "linear_weight_grad": (((300, 200), (300, 500)), (), {}),
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("operation", LARGE)
def test_the_same_bits_from_run_to_run(path, operation, dtype, rng):
    """Large enough to be cut into blocks and handed to several threads."""
    if path.name == "emulated":
        pytest.skip("too large for an emulator")
    shapes, trailing, options = LARGE[operation]
    arrays = [rng.standard_normal(shape, np.float32).astype(dtype) for shape in shapes]
    results = {path.run(getattr(kernels, operation), *arrays, *trailing, **options).tobytes() for _ in range(4)}
    assert len(results) == 1


def test_calls_from_many_threads(rng):
    """Buffers that calls reuse are not shared between calls that run at the same time."""
    problems = [(operation, *LARGE[operation]) for operation in LARGE] * 3
    arrays = [[rng.standard_normal(shape, np.float32) for shape in shapes] for _, shapes, _, _ in problems]

    def digest(number: int) -> str:
        operation, _, trailing, options = problems[number]
        result = getattr(kernels, operation)(*arrays[number], *trailing, **options)
        return f"{operation} {hashlib.sha256(result).hexdigest()}"

    alone = [digest(number) for number in range(len(problems))]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(digest, range(len(problems)))) == alone


DIGESTS = """
import hashlib, os, sys
import numpy as np
from backstride import kernels
from backstride.conformance import calls
from backstride.kernels import OPERATIONS
from backstride.kernels.operation import Case, Operation, as_tuple, geometry_of

def digests():
    rng = np.random.default_rng(0)
    x, w, dy = (rng.standard_normal(s, np.float32) for s in ((9, 32, 30, 31), (40, 32, 3, 3), (9, 40, 30, 31)))
    y, taps = kernels.max_pool2d(x, 3, stride=2)
    results = (
        kernels.conv2d(x, w, padding=1), kernels.conv2d_input_grad(dy, w, x.shape, padding=1),
        kernels.conv2d_weight_grad(dy, x, w.shape, padding=1), kernels.conv2d_bias_grad(dy), y, taps,
        kernels.max_pool2d_grad(y, taps, x.shape, 3, stride=2), kernels.avg_pool2d(x, 3),
    )
    return [hashlib.sha256(a.tobytes()).hexdigest() for a in results]
"""


def python(code: str, **environment: str) -> str:
    command = [sys.executable, "-c", DIGESTS + code]
    environment = {**os.environ, **environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_same_bits_with_any_number_of_threads():
    one, three = (python("print(digests())", OPENBLAS_NUM_THREADS=n, OMP_NUM_THREADS=n) for n in "13")
    assert one == three


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_too():
    """A child has none of its parent's worker threads, and must not wait for them."""
    code = """
before = digests()
child = os.fork()
if child == 0:
    os._exit(0 if digests() == before else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    python(code, OPENBLAS_NUM_THREADS="2", OMP_NUM_THREADS="2")
