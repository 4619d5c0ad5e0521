"""2,000 random configurations against PyTorch on the CPU: values, every gradient, and max-pool indices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from backstride import kernels

torch = pytest.importorskip("torch", reason="parity with PyTorch needs torch")
F = torch.nn.functional

# Of the largest magnitude in the result (of a bias gradient, which may be a single number that cancels, also in its
# terms). float64 and float32: both sides sum up to some thousand products in orders of their own, and float32
# convolutions may be transformed ones. float16: both sides round to 2**-11 = 4.9e-4 of the element, and PyTorch
# rounds the partial sums of its pooling gradients as well.
TOLERANCES = {"float64": 1e-11, "float32": 2e-5, "float16": 4e-3}

Check = Callable[[Any, np.random.Generator, str], Iterator[tuple[Any, ...]]]
"""Computes one random configuration on both sides; yields (name, ours, PyTorch's tensor, *terms of a sum)."""


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the problems are tiny
    yield
    torch.set_num_threads(before)


def tensor(a: np.ndarray) -> Any:
    return torch.tensor(a, requires_grad=True)


def arrays(rng: np.random.Generator, dtype: str, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def window(rng: np.random.Generator, largest: int = 5) -> dict[str, np.ndarray]:
    """Random kernel, stride and dilation, each an (h, w) pair; ones are common, as in life."""
    return {
        "kernel": rng.integers(1, largest + 1, 2),
        "stride": rng.choice([1, 1, 2, 3, 4], 2),
        "dilation": rng.choice([1, 1, 1, 2, 3], 2),
    }


def pair(values: Any) -> tuple[int, int]:
    first, second = map(int, values)
    return first, second


def fit(rng: np.random.Generator, needed: np.ndarray) -> tuple[int, int]:
    """Extents of at least `needed`, so that a window fits."""
    return pair(np.maximum(needed, 1) + rng.integers(0, 10, 2))


def conv(path, rng: np.random.Generator, dtype: str):
    v = window(rng)
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    per_group = rng.choice([1, 2, 3, 5, 8, 33], 2, p=[0.2, 0.2, 0.2, 0.2, 0.15, 0.05])
    c, k = pair(per_group * groups)
    reach = v["dilation"] * (v["kernel"] - 1)
    sides = rng.integers(0, 4, (2, 2)) if rng.random() < 0.5 else np.repeat(rng.integers(0, 4, (2, 1)), 2, axis=1)
    h, w = fit(rng, reach + 1 - sides.sum(1))
    given: Any = tuple(map(pair, sides))
    if rng.random() < 0.15:  # 'same' with stride 1 is PyTorch's too
        given, v["stride"] = "same", np.array([1, 1])
    options = {"stride": pair(v["stride"]), "dilation": pair(v["dilation"]), "groups": groups}
    x_shape, w_shape = (int(rng.integers(0, 4)), c, h, w), (k, c // groups, *pair(v["kernel"]))
    x, weight, b = arrays(rng, dtype, x_shape, w_shape, (k,))

    tx, tw, tb = map(tensor, (x, weight, b))
    if given == "same":
        ty = F.conv2d(tx, tw, tb, padding="same", **options)
    else:
        (top, bottom), (left, right) = given
        ty = F.conv2d(F.pad(tx, (left, right, top, bottom)), tw, tb, **options)
    (dy,) = arrays(rng, dtype, tuple(ty.shape))
    ty.backward(torch.tensor(dy))

    options["padding"] = given
    yield "y", path.run(kernels.conv2d, x, weight, b, **options), ty
    yield "dx", path.run(kernels.conv2d_input_grad, dy, weight, x_shape, **options), tx.grad
    yield "dw", path.run(kernels.conv2d_weight_grad, dy, x, w_shape, **options), tw.grad
    yield "db", path.run(kernels.conv2d_bias_grad, dy).reshape(-1), tb.grad, dy


def conv_transpose(path, rng: np.random.Generator, dtype: str):
    v = window(rng, 4)
    groups = int(rng.choice([1, 1, 2, 3]))
    c, k = pair(rng.integers(1, 6, 2) * groups)
    extents = rng.integers(1, 8, 2)
    extra = rng.integers(0, v["stride"])
    full = (extents - 1) * v["stride"] + v["dilation"] * (v["kernel"] - 1) + extra + 1
    padding = rng.integers(0, np.minimum(4, (full + 1) // 2))
    options = {"stride": pair(v["stride"]), "dilation": pair(v["dilation"]), "groups": groups, "padding": pair(padding)}
    w_shape = (c, k // groups, *pair(v["kernel"]))
    x, weight, b = arrays(rng, dtype, (int(rng.integers(1, 4)), c, *pair(extents)), w_shape, (k,))

    tx, tw, tb = map(tensor, (x, weight, b))
    ty = F.conv_transpose2d(tx, tw, tb, output_padding=pair(extra), **options)
    (dy,) = arrays(rng, dtype, tuple(ty.shape))
    ty.backward(torch.tensor(dy))

    yield "y", path.run(kernels.conv_transpose2d, x, weight, b, output_padding=pair(extra), **options), ty
    yield "dx", path.run(kernels.conv2d, dy, weight, **options), tx.grad
    yield "dw", path.run(kernels.conv2d_weight_grad, x, dy, w_shape, **options), tw.grad
    yield "db", path.run(kernels.conv2d_bias_grad, dy).reshape(-1), tb.grad, dy


def max_pool(path, rng: np.random.Generator, dtype: str):
    v = window(rng)
    kernel = pair(v["kernel"])
    options: dict[str, Any] = {"stride": pair(v["stride"]) if rng.random() < 0.7 else None}
    symmetric = rng.random() < 0.7
    if not symmetric:  # any padding on any side, which PyTorch does by padding with -inf
        sides = rng.integers(0, v["kernel"][:, None], (2, 2))
        v["dilation"][:] = 1
        options["ceil_mode"] = False
    else:
        sides = np.repeat(rng.integers(0, v["kernel"] // 2 + 1)[:, None], 2, axis=1)
        options["ceil_mode"] = bool(rng.random() < 0.5)
    options["dilation"] = pair(v["dilation"])
    # taps no further apart than the image: PyTorch corrupts memory where a window lies wholly in padding (#114216)
    h, w = fit(rng, np.maximum(v["dilation"], v["dilation"] * (v["kernel"] - 1) + 1 - sides.sum(1)))
    x_shape = (int(rng.integers(1, 4)), int(rng.integers(1, 6)), h, w)
    (x,) = arrays(rng, dtype, x_shape)
    if rng.random() < 0.5:
        x = np.round(x)  # ties everywhere

    (top, bottom), (left, right) = map(pair, sides)
    tx = tensor(x)
    if symmetric:
        ty, ti = F.max_pool2d(tx, kernel, padding=(top, left), return_indices=True, **options)
    else:
        padded = F.pad(tx, (left, right, top, bottom), value=-np.inf)
        ty, ti = F.max_pool2d(padded, kernel, return_indices=True, **options)
        ti = (ti // padded.shape[3] - top) * w + ti % padded.shape[3] - left
    (dy,) = arrays(rng, dtype, tuple(ty.shape))
    ty.backward(torch.tensor(dy))

    options["padding"] = ((top, bottom), (left, right))
    y, taps = path.run(kernels.max_pool2d, x, kernel, **options)
    np.testing.assert_array_equal(y, ty.detach().numpy())
    indices = path.run(kernels.max_pool2d_indices, taps, x_shape, kernel, **options)
    np.testing.assert_array_equal(indices, ti.numpy(), strict=True)
    yield "dx", path.run(kernels.max_pool2d_grad, dy, taps, x_shape, kernel, **options), tx.grad


def avg_pool(path, rng: np.random.Generator, dtype: str):
    v = window(rng)
    kernel = pair(v["kernel"])
    padding = rng.integers(0, v["kernel"] // 2 + 1)
    options = {
        "stride": pair(v["stride"]) if rng.random() < 0.7 else None,
        "padding": pair(padding),
        "ceil_mode": bool(rng.random() < 0.5),
        "count_include_pad": bool(rng.random() < 0.5),
        "divisor_override": int(rng.choice([-3, 1, 2, 5])) if rng.random() < 0.2 else None,
    }
    x_shape = (int(rng.integers(1, 4)), int(rng.integers(1, 6)), *fit(rng, v["kernel"] - 2 * padding))
    (x,) = arrays(rng, dtype, x_shape)
    tx = tensor(x)
    ty = F.avg_pool2d(tx, kernel, **options)
    (dy,) = arrays(rng, dtype, tuple(ty.shape))
    ty.backward(torch.tensor(dy))
    yield "y", path.run(kernels.avg_pool2d, x, kernel, **options), ty
    yield "dx", path.run(kernels.avg_pool2d_grad, dy, x_shape, kernel, **options), tx.grad


def linear(path, rng: np.random.Generator, dtype: str):
    samples, features, outputs = (int(e) for e in rng.integers(1, 70, 3))
    x, w, b, dy = arrays(rng, dtype, (samples, features), (outputs, features), (outputs,), (samples, outputs))
    tx, tw, tb = map(tensor, (x, w, b))
    ty = F.linear(tx, tw, tb)
    ty.backward(torch.tensor(dy))
    axis = int(rng.integers(2))
    if axis == 1:
        x, dy, b = x.T, dy.T, b[:, None]
    turn = (lambda a: a.T) if axis == 1 else (lambda a: a)
    yield "y", turn(path.run(kernels.linear, x, w, b, batch_axis=axis)), ty
    yield "dx", turn(path.run(kernels.linear_input_grad, dy, w, batch_axis=axis)), tx.grad
    yield "dw", path.run(kernels.linear_weight_grad, dy, x, batch_axis=axis), tw.grad
    yield "db", path.run(kernels.linear_bias_grad, dy, batch_axis=axis).reshape(-1), tb.grad, dy


BLOCK = 50
NUMBERS = {conv: 900, conv_transpose: 250, max_pool: 400, avg_pool: 250, linear: 200}
BLOCKS = [(check, block) for check, number in NUMBERS.items() for block in range(number // BLOCK)]


def test_there_are_two_thousand():
    assert len(BLOCKS) * BLOCK == 2000


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # PyTorch's, about its own copy
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("check", "block"), BLOCKS, ids=[f"{check.__name__}-{block}" for check, block in BLOCKS])
def test_random_configurations(path, check: Check, block: int, dtype: str):
    if path.name == "emulated":
        pytest.skip("too many for an emulator")
    for number in range(block * BLOCK, (block + 1) * BLOCK):
        for name, got, result, *terms in check(path, np.random.default_rng(number), dtype):
            expected = result.detach().numpy()
            assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
            error = np.abs(got.astype(np.float64) - expected.astype(np.float64)).max(initial=0)
            allowed = TOLERANCES[dtype] * max(float(np.abs(a).max(initial=0)) for a in (expected, *terms))
            assert error <= allowed, f"{check.__name__} {name}, seed {number}: error {error:.3g}, {allowed=:.3g}"


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize(
    ("shape", "kernel", "options"),
    [
        ((9, 64, 57, 56), 3, {"stride": 2, "padding": 1}),
        ((9, 64, 56, 55), 2, {"ceil_mode": True}),
        ((3, 50, 61, 63), 3, {"stride": 1, "padding": 1}),
        ((2, 9, 130, 200), (5, 4), {"stride": (2, 3), "padding": (2, 1)}),
        ((150, 5, 14, 13), (14, 13), {}),
        ((1, 2, 600, 700), 2, {"stride": 3}),
    ],
)
def test_large_pools(path, shape, kernel, options, dtype, rng):
    """Large enough to be cut into blocks; ties everywhere and a NaN here and there."""
    if path.name == "emulated":
        pytest.skip("too large for an emulator")
    x = np.round(2 * rng.standard_normal(shape)).astype(dtype)
    tx = tensor(x)
    ty = F.avg_pool2d(tx, kernel, **options)
    dy = np.round(4 * rng.standard_normal(tuple(ty.shape))).astype(dtype)
    ty.backward(torch.tensor(dy))
    tolerance = TOLERANCES[dtype]
    np.testing.assert_allclose(path.run(kernels.avg_pool2d, x, kernel, **options), ty.detach(), tolerance, tolerance)
    dx = path.run(kernels.avg_pool2d_grad, dy, shape, kernel, **options)
    np.testing.assert_allclose(dx, tx.grad, tolerance, tolerance)

    x[rng.random(shape) < 0.01] = np.nan
    tx = tensor(x)
    ty, ti = F.max_pool2d(tx, kernel, return_indices=True, **options)
    ty.backward(torch.tensor(dy))
    y, taps = path.run(kernels.max_pool2d, x, kernel, **options)
    np.testing.assert_array_equal(y, ty.detach())
    np.testing.assert_array_equal(path.run(kernels.max_pool2d_indices, taps, shape, kernel, **options), ti)
    np.testing.assert_array_equal(path.run(kernels.max_pool2d_grad, dy, taps, shape, kernel, **options), tx.grad)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("batch_axis", [0, 1])
def test_large_linear(path, batch_axis, dtype, rng):
    """Large enough to be cut into blocks in every extent."""
    if path.name == "emulated":
        pytest.skip("too large for an emulator")
    x, w, b, dy = arrays(rng, dtype, (2001, 501), (733, 501), (733,), (2001, 733))
    tx, tw, tb = (torch.tensor(a.astype(np.float64), requires_grad=True) for a in (x, w, b))
    ty = F.linear(tx, tw, tb)
    ty.backward(torch.tensor(dy.astype(np.float64)))
    exact = ty, tx.grad, tw.grad, tb.grad
    if batch_axis == 1:
        x, dy, b, exact = x.T, dy.T, b[:, None], (ty.T, tx.grad.T, tw.grad, tb.grad[:, None])
    results = (
        path.run(kernels.linear, x, w, b, batch_axis=batch_axis),
        path.run(kernels.linear_input_grad, dy, w, batch_axis=batch_axis),
        path.run(kernels.linear_weight_grad, dy, x, batch_axis=batch_axis),
        path.run(kernels.linear_bias_grad, dy, batch_axis=batch_axis),
    )
    for got, expected in zip(results, (e.detach().numpy() for e in exact), strict=True):
        largest = np.abs(expected).max()
        np.testing.assert_allclose(got.astype(np.float64), expected, 0, TOLERANCES[dtype] * largest, strict=True)
