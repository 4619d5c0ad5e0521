"""2,000 random configurations against PyTorch on the CPU: values, every gradient, and max-pool indices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from backstride import kernels, layers

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


def rank_of(rng: np.random.Generator) -> int:
    return int(rng.choice([1, 2, 3], p=[0.25, 0.5, 0.25]))


def ours(stem: str, rank: int, rest: str = "") -> Any:
    return getattr(kernels, f"{stem}{rank}d{rest}")


def theirs(stem: str, rank: int) -> Any:
    return getattr(F, f"{stem}{rank}d")


def window(rng: np.random.Generator, rank: int, largest: int = 5) -> dict[str, np.ndarray]:
    """Random kernel, stride and dilation, each one for each axis; ones are common, as in life."""
    return {
        "kernel": rng.integers(1, largest + 1, rank),
        "stride": rng.choice([1, 1, 2, 3, 4], rank),
        "dilation": rng.choice([1, 1, 1, 2, 3], rank),
    }


def ints(values: Any) -> tuple[int, ...]:
    return tuple(map(int, values))


def fit(rng: np.random.Generator, needed: np.ndarray) -> tuple[int, ...]:
    """Extents of at least `needed`, so that a window fits; volumes are not much more."""
    return ints(np.maximum(needed, 1) + rng.integers(0, 10 if len(needed) < 3 else 4, len(needed)))


def pads(sides: Any) -> list[int]:
    """(before, after) for each axis as F.pad takes them, the last axis first."""
    return [int(side) for before_and_after in reversed(list(sides)) for side in before_and_after]


def conv(path, rng: np.random.Generator, dtype: str):
    rank = rank_of(rng)
    v = window(rng, rank, 5 if rank < 3 else 3)
    groups = int(rng.choice([1, 1, 1, 2, 3]))
    per_group = rng.choice([1, 2, 3, 5, 8, 33], 2, p=[0.2, 0.2, 0.2, 0.2, 0.15, 0.05])
    c, k = ints(per_group * groups)
    reach = v["dilation"] * (v["kernel"] - 1)
    even = np.repeat(rng.integers(0, 4, (rank, 1)), 2, axis=1)
    sides = rng.integers(0, 4, (rank, 2)) if rng.random() < 0.5 else even
    extents = fit(rng, reach + 1 - sides.sum(1))
    given: Any = tuple(map(ints, sides))
    if rng.random() < 0.15:  # 'same' with stride 1 is PyTorch's too
        given, v["stride"] = "same", np.ones(rank, int)
    options = {"stride": ints(v["stride"]), "dilation": ints(v["dilation"]), "groups": groups}
    x_shape, w_shape = (int(rng.integers(0, 4)), c, *extents), (k, c // groups, *ints(v["kernel"]))
    x, weight, b = arrays(rng, dtype, x_shape, w_shape, (k,))

    tx, tw, tb = map(tensor, (x, weight, b))
    if given == "same":
        ty = theirs("conv", rank)(tx, tw, tb, padding="same", **options)
    else:
        ty = theirs("conv", rank)(F.pad(tx, pads(given)), tw, tb, **options)
    (dy,) = arrays(rng, dtype, tuple(ty.shape))
    ty.backward(torch.tensor(dy))

    options["padding"] = given
    yield "y", path.run(ours("conv", rank), x, weight, b, **options), ty
    yield "dx", path.run(ours("conv", rank, "_input_grad"), dy, weight, x_shape, **options), tx.grad
    yield "dw", path.run(ours("conv", rank, "_weight_grad"), dy, x, w_shape, **options), tw.grad
    yield "db", path.run(ours("conv", rank, "_bias_grad"), dy).reshape(-1), tb.grad, dy


def conv_transpose(path, rng: np.random.Generator, dtype: str):
    """Depthwise as often as not; its output_padding is less than the stride or the dilation, and its padding may differ
    from side to side, which PyTorch does by slicing. Gradients with output_padding of the stride or more are those of
    the layer."""
    rank = rank_of(rng)
    v = window(rng, rank, 4 if rank < 3 else 3)
    groups = int(rng.choice([1, 1, 2, 3]))
    c, k = ints((np.ones(2, int) if rng.random() < 0.5 else rng.integers(1, 6, 2)) * groups)
    extents = rng.integers(1, 8 if rank < 3 else 4, rank)
    extra = rng.integers(0, np.maximum(v["stride"], v["dilation"]))
    full = (extents - 1) * v["stride"] + v["dilation"] * (v["kernel"] - 1) + extra + 1
    sides = rng.integers(0, np.minimum(4, (full + 1) // 2)[:, None], (rank, 2))
    options = {"stride": ints(v["stride"]), "dilation": ints(v["dilation"]), "groups": groups}
    w_shape = (c, k // groups, *ints(v["kernel"]))
    x, weight, b = arrays(rng, dtype, (int(rng.integers(1, 4)), c, *ints(extents)), w_shape, (k,))

    tx, tw, tb = map(tensor, (x, weight, b))
    inside = (..., *(slice(before, extent - after) for (before, after), extent in zip(sides, full, strict=True)))
    ty = theirs("conv_transpose", rank)(tx, tw, tb, output_padding=ints(extra), **options)[inside]
    (dy,) = arrays(rng, dtype, tuple(ty.shape))
    ty.backward(torch.tensor(dy))

    options["padding"] = tuple(map(ints, sides))
    y = path.run(ours("conv_transpose", rank), x, weight, b, output_padding=ints(extra), **options)
    yield "y", y, ty
    if (extra < v["stride"]).all():
        yield "dx", path.run(ours("conv", rank), dy, weight, **options), tx.grad
        yield "dw", path.run(ours("conv", rank, "_weight_grad"), x, dy, w_shape, **options), tw.grad
        yield "db", path.run(ours("conv", rank, "_bias_grad"), dy).reshape(-1), tb.grad, dy
    layer = getattr(layers, f"ConvTranspose{rank}d")(
        c, k, ints(v["kernel"]), output_padding=ints(extra), dtype=dtype, rng=0, **options
    )
    layer.load_state_dict({"weight": weight, "bias": b})
    layer.to("cupy" if path.name == "cuda" else "numpy")
    layer.forward(path.asarray(x))
    yield "dx of the layer", path.to_numpy(layer.backward(path.asarray(dy))), tx.grad
    yield "dw of the layer", path.to_numpy(layer.weight.grad), tw.grad
    yield "db of the layer", path.to_numpy(layer.bias.grad).reshape(-1), tb.grad, dy


def max_pool(path, rng: np.random.Generator, dtype: str):
    rank = rank_of(rng)
    v = window(rng, rank)
    kernel = ints(v["kernel"])
    options: dict[str, Any] = {"stride": ints(v["stride"]) if rng.random() < 0.7 else None}
    symmetric = rng.random() < 0.7
    if not symmetric:  # any padding on any side, which PyTorch does by padding with -inf
        sides = rng.integers(0, v["kernel"][:, None], (rank, 2))
        v["dilation"][:] = 1
        options["ceil_mode"] = False
    else:
        sides = np.repeat(rng.integers(0, v["kernel"] // 2 + 1)[:, None], 2, axis=1)
        options["ceil_mode"] = bool(rng.random() < 0.5)
    options["dilation"] = ints(v["dilation"])
    # taps no further apart than the image: PyTorch corrupts memory where a window lies wholly in padding (#114216)
    extents = fit(rng, np.maximum(v["dilation"], v["dilation"] * (v["kernel"] - 1) + 1 - sides.sum(1)))
    x_shape = (int(rng.integers(1, 4)), int(rng.integers(1, 6)), *extents)
    (x,) = arrays(rng, dtype, x_shape)
    if rng.random() < 0.5:
        x = np.round(x)  # ties everywhere

    tx, pool = tensor(x), theirs("max_pool", rank)
    if symmetric:
        ty, ti = pool(tx, kernel, padding=ints(sides[:, 0]), return_indices=True, **options)
        ti = ti.numpy()
    else:
        padded = F.pad(tx, pads(sides), value=-np.inf)
        ty, ti = pool(padded, kernel, return_indices=True, **options)
        positions = np.unravel_index(ti.numpy().ravel(), padded.shape[2:])
        moved = [at - before for at, (before, _) in zip(positions, sides, strict=True)]
        ti = np.ravel_multi_index(moved, extents).reshape(ti.shape)
    (dy,) = arrays(rng, dtype, tuple(ty.shape))
    ty.backward(torch.tensor(dy))

    options["padding"] = tuple(map(ints, sides))
    y, taps = path.run(ours("max_pool", rank), x, kernel, **options)
    np.testing.assert_array_equal(y, ty.detach().numpy())
    indices = path.run(ours("max_pool", rank, "_indices"), taps, x_shape, kernel, **options)
    np.testing.assert_array_equal(indices, ti, strict=True)
    yield "dx", path.run(ours("max_pool", rank, "_grad"), dy, taps, x_shape, kernel, **options), tx.grad


def avg_pool(path, rng: np.random.Generator, dtype: str):
    rank = min(rank_of(rng), 2 if dtype == "float16" else 3)  # PyTorch averages no 16-bit volumes on the CPU
    v = window(rng, rank)
    kernel = ints(v["kernel"])
    padding = rng.integers(0, v["kernel"] // 2 + 1)
    options = {
        "stride": ints(v["stride"]) if rng.random() < 0.7 else None,
        "padding": ints(padding),
        "ceil_mode": bool(rng.random() < 0.5),
        "count_include_pad": bool(rng.random() < 0.5),
    }
    if rank > 1:  # F.avg_pool1d has no such option
        options["divisor_override"] = int(rng.choice([-3, 1, 2, 5])) if rng.random() < 0.2 else None
    needed = v["kernel"] - 2 * padding if rank < 3 else v["kernel"]  # F.avg_pool3d asks for more than that
    x_shape = (int(rng.integers(1, 4)), int(rng.integers(1, 6)), *fit(rng, needed))
    (x,) = arrays(rng, dtype, x_shape)
    tx = tensor(x)
    ty = theirs("avg_pool", rank)(tx, kernel, **options)
    (dy,) = arrays(rng, dtype, tuple(ty.shape))
    ty.backward(torch.tensor(dy))
    yield "y", path.run(ours("avg_pool", rank), x, kernel, **options), ty
    yield "dx", path.run(ours("avg_pool", rank, "_grad"), dy, x_shape, kernel, **options), tx.grad


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
    compare(path, check, range(block * BLOCK, (block + 1) * BLOCK), dtype)


class ChannelsLast:
    """A path whose functions are given images and weights with channels last; what comes out has them first again."""

    def __init__(self, path):
        self._path = path

    def __getattr__(self, name):
        return getattr(self._path, name)

    def run(self, function, first, *arguments, **options):
        def moved(a):
            if isinstance(a, np.ndarray):
                return np.ascontiguousarray(np.moveaxis(a, 1, -1)) if a.ndim == first.ndim else a
            is_shape = isinstance(a, tuple) and len(a) == first.ndim
            return (a[0], *a[2:], a[1]) if is_shape else a

        results = self._path.run(function, *map(moved, (first, *arguments)), layout="NHWC", **options)
        if isinstance(results, tuple):
            return tuple(np.moveaxis(each, -1, 1) for each in results)
        return np.moveaxis(results, -1, 1) if results.ndim == first.ndim else results


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("check", [conv, conv_transpose, max_pool, avg_pool])
def test_random_configurations_with_channels_last(path, check: Check, dtype: str):
    if path.name == "emulated":
        pytest.skip("too many for an emulator")
    compare(ChannelsLast(path), check, range(3000, 3050), dtype)


def compare(path, check: Check, numbers: range, dtype: str) -> None:
    for number in numbers:
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
