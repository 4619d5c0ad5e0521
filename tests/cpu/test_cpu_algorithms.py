"""Every algorithm of the NumPy path on its own, whichever the rule would choose, and what all of them promise."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
import reference
from accuracy import assert_exact
from gradcheck import assert_gradient

from backstride import kernels, precision
from backstride.kernels.blocked import (
    bands,
    choose,
    col2im,
    correlation,
    depthwise,
    im2col,
    lines,
    rows,
    shifts,
    winograd,
    winograd_transforms,
)
from backstride.kernels.blocked.correlation import by_group, weights_by_group
from backstride.kernels.blocked.residues import classes
from backstride.kernels.blocked.winograd_transforms import Filter
from backstride.kernels.conv.blocked import correlation_of
from backstride.kernels.conv.geometry import ConvGeometry
from backstride.kernels.pool.cases import MAX_POOL

Array = np.ndarray
ANY = [
    # x, w, options
    ((2, 3, 9, 8), (4, 3, 3, 3), {"padding": 1}),
    ((3, 4, 11, 7), (6, 2, 3, 2), {"stride": (2, 1), "padding": ((0, 2), (1, 0)), "groups": 2}),
    ((1, 2, 17, 13), (3, 2, 5, 4), {"stride": (3, 4), "padding": (2, 1)}),
    ((2, 3, 12, 12), (2, 3, 3, 3), {"stride": 2, "dilation": (2, 3), "padding": 3}),
    ((2, 2, 10, 9), (3, 2, 2, 2), {"stride": 5}),  # rows and columns no window reaches
    ((5, 2, 1, 1), (3, 2, 1, 1), {}),
    ((4, 5, 6, 7), (3, 5, 1, 1), {"stride": 2, "padding": 1}),
    ((0, 3, 5, 5), (4, 3, 3, 3), {}),
]
DEPTHWISE = [
    ((2, 5, 9, 8), (5, 1, 3, 3), {"padding": 1, "groups": 5}),
    ((4, 3, 14, 14), (3, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 3}),
    ((5, 4, 7, 10), (4, 1, 2, 5), {"stride": (1, 3), "padding": ((0, 1), (3, 0)), "groups": 4}),
    ((4, 2, 3, 3), (2, 1, 3, 3), {"padding": 2, "groups": 2}),
    ((4, 2, 9, 9), (2, 1, 2, 2), {"stride": 4, "padding": 1, "groups": 2, "dilation": (1, 2)}),
]
MULTIPLIED = [
    ((3, 2, 9, 8), (6, 1, 3, 2), {"stride": (2, 3), "padding": 1, "dilation": (2, 1), "groups": 2}),
    ((2, 3, 10, 10), (6, 1, 2, 2), {"stride": 4, "groups": 3}),
]
KEEPING_THE_WIDTH = [
    ((2, 5, 9, 8), (5, 1, 3, 3), {"padding": 1, "groups": 5}),
    ((3, 2, 37, 6), (2, 1, 3, 3), {"padding": 1, "groups": 2}),
    ((2, 3, 31, 7), (3, 1, 2, 4), {"stride": (3, 1), "padding": ((0, 1), (3, 0)), "groups": 3}),
    ((2, 3, 20, 9), (3, 1, 5, 3), {"padding": ((8, 0), (1, 3)), "dilation": (2, 2), "groups": 3}),
    ((1, 2, 5, 3), (2, 1, 3, 3), {"padding": (0, 5), "dilation": (1, 5), "groups": 2}),  # shifts beyond a row
    ((2, 2, 9, 1), (2, 1, 2, 1), {"stride": (5, 1), "groups": 2}),  # rows no window reaches
    ((0, 2, 4, 4), (2, 1, 3, 3), {"padding": 1, "groups": 2}),
]
UNDILATED = [
    ((2, 3, 9, 8), (4, 3, 3, 3), {"padding": 1}),
    ((3, 4, 11, 7), (6, 2, 3, 2), {"stride": (2, 1), "padding": ((0, 2), (1, 0)), "groups": 2}),
    ((1, 2, 17, 13), (3, 2, 5, 4), {"stride": (3, 4), "padding": (2, 7)}),
    ((4, 2, 7, 12), (2, 2, 3, 3), {"stride": (1, 2), "dilation": (1, 3), "padding": (4, 0)}),
    ((2, 2, 10, 9), (3, 2, 2, 2), {"stride": 5}),  # rows and columns no window reaches
    ((0, 3, 5, 5), (4, 3, 3, 3), {}),
]
THREE_BY_THREE = [
    ((2, 3, 9, 8), (4, 3, 3, 3), {"padding": 1}),
    ((3, 5, 4, 13), (2, 5, 3, 3), {"padding": (0, 2)}),
    ((1, 2, 30, 70), (3, 2, 3, 3), {"padding": ((3, 0), (0, 1))}),
    ((9, 4, 5, 5), (3, 4, 3, 3), {}),
    ((2, 3, 19, 23), (4, 3, 3, 3), {"padding": (2, 3), "dilation": (2, 3)}),
    ((1, 2, 9, 33), (3, 2, 3, 3), {"dilation": (1, 4), "padding": ((1, 0), (0, 5))}),
]
FIVE_BY_FIVE = [
    ((2, 3, 9, 8), (4, 3, 5, 5), {"padding": 2}),
    ((3, 2, 21, 40), (3, 2, 5, 5), {"padding": ((0, 3), (4, 1)), "dilation": (2, 1)}),
]


def geometry_of(x_shape: tuple[int, ...], w_shape: tuple[int, ...], options: dict) -> ConvGeometry:
    given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **options}
    return ConvGeometry.of("test", x_shape, w_shape, **given)


def forward_by_im2col(x: Array, w: Array, g: ConvGeometry) -> Array:
    y = np.empty(g.y_shape, x.dtype)
    im2col.correlate(
        by_group(x, g.groups), weights_by_group(w, g.groups), None, by_group(y, g.groups), correlation_of(g)
    )
    return y


def forward_by_rows(x: Array, w: Array, g: ConvGeometry) -> Array:
    y = np.empty(g.y_shape, x.dtype)
    rows.correlate(by_group(x, g.groups), weights_by_group(w, g.groups), None, by_group(y, g.groups), correlation_of(g))
    return y


def forward_by_winograd(m: int) -> Callable[..., Array]:
    def forward(x: Array, w: Array, g: ConvGeometry) -> Array:
        y = np.empty(g.y_shape, x.dtype)
        winograd.correlate(x[:, None], w[None], None, y[:, None], correlation_of(g), m)
        return y

    return forward


def forward_by_taps(x: Array, w: Array, g: ConvGeometry) -> Array:
    y = np.empty(g.y_shape, x.dtype)
    depthwise.correlate(x, weights_by_group(w, g.groups)[:, :, 0], None, by_group(y, g.groups), correlation_of(g))
    return y


def forward_by_bands(x: Array, w: Array, g: ConvGeometry) -> Array:
    y = np.empty(g.y_shape, x.dtype)
    bands.correlate(x, w[:, 0], None, y, correlation_of(g))
    return y


def forward_by_shifts(x: Array, w: Array, g: ConvGeometry) -> Array:
    y = np.empty(g.y_shape, x.dtype)
    shifts.correlate(x, w[:, 0], None, y, correlation_of(g))
    return y


def input_grad_by_classes(correlate: Callable[..., None]) -> Callable[..., Array]:
    def input_grad(dy: Array, w: Array, g: ConvGeometry) -> Array:
        dx = np.empty(g.x_shape, dy.dtype)
        for part in classes(correlation_of(g)):
            kernel, target = part.kernel(weights_by_group(w, g.groups)), part.part(by_group(dx, g.groups))
            correlate(by_group(dy, g.groups), kernel, None, target, part.problem)
        return dx

    return input_grad


input_grad_by_im2col = input_grad_by_classes(im2col.correlate)


def input_grad_by_winograd(m: int) -> Callable[..., Array]:
    def input_grad(dy: Array, w: Array, g: ConvGeometry) -> Array:
        dx = np.empty(g.x_shape, dy.dtype)
        (part,) = classes(correlation_of(g))
        winograd.correlate(dy[:, None], part.kernel(w[None]), None, dx[:, None], part.problem, m)
        return dx

    return input_grad


def input_grad_by_col2im(dy: Array, w: Array, g: ConvGeometry) -> Array:
    dx = np.empty(g.x_shape, dy.dtype)
    col2im.input_grad(
        by_group(dy, g.groups), weights_by_group(w, g.groups), None, by_group(dx, g.groups), correlation_of(g)
    )
    return dx


def input_grad_by_taps(dy: Array, w: Array, g: ConvGeometry) -> Array:
    dx = np.empty(g.x_shape, dy.dtype)
    depthwise.input_grad(by_group(dy, g.groups), weights_by_group(w, g.groups)[:, :, 0], None, dx, correlation_of(g))
    return dx


def input_grad_by_bands(dy: Array, w: Array, g: ConvGeometry) -> Array:
    dx = np.empty(g.x_shape, dy.dtype)
    bands.input_grad(dy, w[:, 0], None, dx, correlation_of(g))
    return dx


def input_grad_by_shifts(dy: Array, w: Array, g: ConvGeometry) -> Array:
    dx = np.empty(g.x_shape, dy.dtype)
    shifts.input_grad(dy, w[:, 0], None, dx, correlation_of(g))
    return dx


def weight_grad_by_im2col(dy: Array, x: Array, g: ConvGeometry) -> Array:
    dw = np.empty(g.w_shape, x.dtype)
    im2col.weight_grad(by_group(dy, g.groups), by_group(x, g.groups), weights_by_group(dw, g.groups), correlation_of(g))
    return dw


def weight_grad_by_rows(dy: Array, x: Array, g: ConvGeometry) -> Array:
    dw = np.empty(g.w_shape, x.dtype)
    rows.weight_grad(by_group(dy, g.groups), by_group(x, g.groups), weights_by_group(dw, g.groups), correlation_of(g))
    return dw


def weight_grad_by_winograd(way: Callable[..., None], m: int) -> Callable[..., Array]:
    def weight_grad(dy: Array, x: Array, g: ConvGeometry) -> Array:
        dw = np.empty(g.w_shape, x.dtype)
        way(dy, x, dw, correlation_of(g), Filter(m, g.R, g.dilation))
        return dw

    return weight_grad


def weight_grad_by_taps(dy: Array, x: Array, g: ConvGeometry) -> Array:
    dw = np.empty(g.w_shape, x.dtype)
    depthwise.weight_grad(by_group(dy, g.groups), x, weights_by_group(dw, g.groups)[:, :, 0], correlation_of(g))
    return dw


def weight_grad_by_shifts(dy: Array, x: Array, g: ConvGeometry) -> Array:
    dw = np.empty(g.w_shape, x.dtype)
    shifts.weight_grad(dy, x, dw[:, 0], correlation_of(g))
    return dw


def weight_grad_by_windows(dy: Array, x: Array, g: ConvGeometry) -> Array:
    dw = np.empty(g.w_shape, x.dtype)
    depthwise.weight_grad_by_windows(
        by_group(dy, g.groups), x, weights_by_group(dw, g.groups)[:, :, 0], correlation_of(g)
    )
    return dw


FORWARD = {
    "im2col": (forward_by_im2col, ANY + DEPTHWISE + MULTIPLIED),
    "rows": (forward_by_rows, UNDILATED),
    "winograd 2": (forward_by_winograd(2), THREE_BY_THREE + FIVE_BY_FIVE),
    "winograd 4": (forward_by_winograd(4), THREE_BY_THREE),
    "taps": (forward_by_taps, DEPTHWISE + MULTIPLIED),
    "bands": (forward_by_bands, DEPTHWISE),
    "shifts": (forward_by_shifts, KEEPING_THE_WIDTH),
}
INPUT_GRAD = {
    "im2col": (input_grad_by_im2col, ANY + DEPTHWISE + MULTIPLIED),
    "rows": (input_grad_by_classes(rows.correlate), UNDILATED),
    "winograd 2": (input_grad_by_winograd(2), THREE_BY_THREE + FIVE_BY_FIVE),
    "winograd 4": (input_grad_by_winograd(4), THREE_BY_THREE),
    "col2im": (input_grad_by_col2im, ANY + DEPTHWISE + MULTIPLIED),
    "taps": (input_grad_by_taps, DEPTHWISE + MULTIPLIED),
    "bands": (input_grad_by_bands, DEPTHWISE),
    "shifts": (input_grad_by_shifts, KEEPING_THE_WIDTH),
}
WEIGHT_GRAD = {
    "im2col": (weight_grad_by_im2col, ANY + DEPTHWISE + MULTIPLIED),
    "rows": (weight_grad_by_rows, UNDILATED),
    "winograd 2 by lanes": (weight_grad_by_winograd(winograd.grad_by_lanes, 2), THREE_BY_THREE + FIVE_BY_FIVE),
    "winograd 4 by lanes": (weight_grad_by_winograd(winograd.grad_by_lanes, 4), THREE_BY_THREE),
    "winograd 2 by stages": (weight_grad_by_winograd(winograd.grad_by_stages, 2), THREE_BY_THREE + FIVE_BY_FIVE),
    "winograd 4 by stages": (weight_grad_by_winograd(winograd.grad_by_stages, 4), THREE_BY_THREE),
    "taps": (weight_grad_by_taps, DEPTHWISE + MULTIPLIED),
    "shifts": (weight_grad_by_shifts, [case for case in KEEPING_THE_WIDTH if "stride" not in case[2]]),
    "windows": (weight_grad_by_windows, DEPTHWISE + MULTIPLIED),
}


def cases(algorithms: dict) -> list:
    return [
        pytest.param(algorithm, *case, "float32" if name.startswith("winograd") else dtype, id=f"{name}-{i}-{dtype}")
        for name, (algorithm, shapes) in algorithms.items()
        for i, case in enumerate(shapes)
        for dtype in (("float32",) if name.startswith("winograd") else ("float32", "float64"))
    ]


def assert_near(got: Array, exact: Array, dtype: str) -> None:
    """Every sum here has under 3,000 products: rounding stays below 3000 eps of the largest element; Winograd's is
    larger by its own factor (at most 8), and 2e-5 is 8 times 20 eps of float32, seen for the shapes above."""
    assert got.shape == exact.shape
    tolerance = {"float32": 2e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(got, exact, rtol=0, atol=tolerance * np.abs(exact).max(initial=0))


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize(("algorithm", "x_shape", "w_shape", "options", "dtype"), cases(FORWARD))
def test_forward(rng, algorithm, x_shape, w_shape, options, dtype):
    x, w = draw(rng, x_shape, dtype), draw(rng, w_shape, dtype)
    exact = reference.conv2d(x.astype(np.float64), w.astype(np.float64), **options)
    assert_near(algorithm(x, w, geometry_of(x_shape, w_shape, options)), exact, dtype)


@pytest.mark.parametrize(("algorithm", "x_shape", "w_shape", "options", "dtype"), cases(INPUT_GRAD))
def test_input_grad(rng, algorithm, x_shape, w_shape, options, dtype):
    g = geometry_of(x_shape, w_shape, options)
    dy, w = draw(rng, g.y_shape, dtype), draw(rng, w_shape, dtype)
    exact = reference.conv2d_input_grad(dy.astype(np.float64), w.astype(np.float64), x_shape, **options)
    assert_near(algorithm(dy, w, g), exact, dtype)


@pytest.mark.parametrize(("algorithm", "x_shape", "w_shape", "options", "dtype"), cases(WEIGHT_GRAD))
def test_weight_grad(rng, algorithm, x_shape, w_shape, options, dtype):
    g = geometry_of(x_shape, w_shape, options)
    dy, x = draw(rng, g.y_shape, dtype), draw(rng, x_shape, dtype)
    exact = reference.conv2d_weight_grad(dy.astype(np.float64), x.astype(np.float64), w_shape, **options)
    assert_near(algorithm(dy, x, g), exact, dtype)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks so small that every extent is cut: images, groups, rows, columns, channels and kernel rows."""
    monkeypatch.setattr(correlation, "BLOCK_BYTES", 512)
    monkeypatch.setattr(correlation, "WIDE", 4)
    for module in (lines, depthwise):
        monkeypatch.setattr(module, "BLOCK_BYTES", 256)
    monkeypatch.setattr(lines, "LEAST_BYTES", 0)
    for name in ("BLOCK_BYTES", "SHIFTED_BYTES", "LEAST_BYTES"):
        monkeypatch.setattr(shifts, name, 256)
    monkeypatch.setattr(shifts, "ROWS", 2)
    shifts.row_blocks.cache_clear()
    monkeypatch.setattr(im2col, "WEIGHT_BYTES", 256)
    monkeypatch.setattr(im2col, "TERM_BYTES", 256)
    for name in ("TAPS_BYTES", "SUMS_BYTES", "LONG"):
        monkeypatch.setattr(col2im, name, 256)
    for name in ("LINE", "SHORT_LINE", "BLOCK_BYTES", "TERM_BYTES"):
        monkeypatch.setattr(rows, name, 4)
    monkeypatch.setattr(winograd, "TILES", 4)
    monkeypatch.setattr(winograd_transforms, "TILE_COLUMNS", 2)
    monkeypatch.setattr(winograd_transforms, "FEW_TILES", 8)
    for name in ("WEIGHT_BYTES", "BLOCK_BYTES", "STAGE_BYTES"):
        monkeypatch.setattr(winograd, name, 4096)
    for plan in (correlation.cut, rows._blocks):
        plan.cache_clear()
    yield
    for plan in (correlation.cut, rows._blocks):
        plan.cache_clear()


@pytest.mark.parametrize("algorithms", [FORWARD, INPUT_GRAD, WEIGHT_GRAD], ids=["forward", "dx", "dw"])
def test_small_blocks(rng, small_blocks, algorithms):
    for algorithm, shapes in algorithms.values():
        for x_shape, w_shape, options in shapes:
            g = geometry_of(x_shape, w_shape, options)
            x, w, dy = (draw(rng, shape, "float32") for shape in (x_shape, w_shape, g.y_shape))
            if algorithms is FORWARD:
                got, exact = algorithm(x, w, g), reference.conv2d(x, w, **options)
            elif algorithms is INPUT_GRAD:
                got, exact = algorithm(dy, w, g), reference.conv2d_input_grad(dy, w, x_shape, **options)
            else:
                got, exact = algorithm(dy, x, g), reference.conv2d_weight_grad(dy, x, w_shape, **options)
            assert_near(got, exact, "float32")


@pytest.mark.parametrize("dense", [0, 9])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
@pytest.mark.parametrize("case", MAX_POOL, ids=str)
def test_max_pool_by_passes(case, dtype, dense, rng, monkeypatch):
    """Every window by passes, over all rows or some, where the rule would search few windows one by one."""
    max_pool2d = import_module("backstride.kernels.pool.blocked_max_pool2d")
    monkeypatch.setattr(max_pool2d, "by_argmax", lambda _: False)
    monkeypatch.setattr(lines, "DENSE", dense)
    x = rng.choice([-1.0, -0.0, 0.0, 1.0, np.nan, -np.inf], case.x, p=[0.4, 0.2, 0.2, 0.1, 0.02, 0.08])
    y, taps = kernels.max_pool2d(x.astype(dtype), **case.options)
    exact, exact_taps = reference.max_pool2d(x, **case.options)
    assert_exact(y, exact)
    np.testing.assert_array_equal(np.where(taps == np.iinfo(taps.dtype).max, -1, taps.astype(np.int64)), exact_taps)


def test_small_blocks_of_pooling(rng, monkeypatch):
    """How planes are cut never shows: not a bit differs."""
    x = draw(rng, (3, 5, 23, 17), "float32")
    x[1, 2, 3, 4], x[0, 0, :9, :9] = np.nan, -np.inf

    def pooled() -> list[Array]:
        y, taps = kernels.max_pool2d(x, (3, 4), stride=(2, 3), padding=(1, 2), ceil_mode=True)
        options = {"kernel_size": (5, 2), "stride": (2, 4), "padding": (2, 0), "ceil_mode": True}
        average = kernels.avg_pool2d(x, **options)
        return [
            y,
            taps,
            kernels.max_pool2d_grad(y, taps, x.shape, (3, 4), stride=(2, 3), padding=(1, 2), ceil_mode=True),
            average,
            kernels.avg_pool2d_grad(average, x.shape, **options),
        ]

    whole = pooled()
    monkeypatch.setattr(lines, "BLOCK_BYTES", 256)
    monkeypatch.setattr(lines, "LEAST_BYTES", 0)
    for expected, got in zip(whole, pooled(), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("padding", [0, 1])
def test_average_of_one_window(rng, padding):
    """Global pooling has a way of its own; with padding its only window leaves the last row and column out."""
    x = draw(rng, (2, 3, 4, 5), "float64")
    options = {"kernel_size": (4, 5), "stride": 7, "padding": padding}
    y, exact = kernels.avg_pool2d(x, **options), reference.avg_pool2d(x, **options)
    assert_near(y, exact, "float64")
    dx = kernels.avg_pool2d_grad(y, x.shape, **options)
    assert_near(dx, reference.avg_pool2d_grad(y, x.shape, **options), "float64")


@pytest.mark.parametrize("name", [name for name in INPUT_GRAD if not name.startswith("winograd")])
def test_input_grad_is_a_gradient(rng, name):
    algorithm, shapes = INPUT_GRAD[name]
    x_shape, w_shape, options = shapes[1]
    g = geometry_of(x_shape, w_shape, options)
    x, w, dy = draw(rng, x_shape, "float64"), draw(rng, w_shape, "float64"), draw(rng, g.y_shape, "float64")
    assert_gradient(lambda x: forward_by_im2col(x, w, g), x, dy, algorithm(dy, w, g), rng)


@pytest.mark.parametrize("name", [name for name in WEIGHT_GRAD if not name.startswith("winograd")])
def test_weight_grad_is_a_gradient(rng, name):
    algorithm, shapes = WEIGHT_GRAD[name]
    x_shape, w_shape, options = shapes[1]
    g = geometry_of(x_shape, w_shape, options)
    x, w, dy = draw(rng, x_shape, "float64"), draw(rng, w_shape, "float64"), draw(rng, g.y_shape, "float64")
    assert_gradient(lambda w: forward_by_im2col(x, w, g), w, dy, algorithm(dy, x, g), rng)


def worst(got: Array, exact: Array) -> float:
    return float(np.abs(got - exact).max() / np.abs(exact).max())


@pytest.mark.parametrize(("m", "r"), [(2, 3), (4, 3), (2, 5)])
@pytest.mark.parametrize("shape", [(2, 16, 4, 5), (3, 64, 14, 14), (1, 256, 9, 8)])
@pytest.mark.parametrize("positive", [False, True])
def test_winograd_error_is_at_most_8_times_that_of_im2col(rng, m, r, shape, positive):
    """winograd.py's docstring says so; with positive data nothing cancels in the sums but much in the transforms."""
    g = geometry_of(shape, (24, shape[1], r, r), {"padding": r // 2})
    x, weights, dy = (draw(rng, s, "float32") for s in (shape, g.w_shape, g.y_shape))
    if positive:
        x, weights, dy = abs(x), abs(weights), abs(dy)
    x64, w64, dy64 = (a.astype(np.float64) for a in (x, weights, dy))
    y64, dx64 = forward_by_im2col(x64, w64, g), input_grad_by_im2col(dy64, w64, g)
    dw64 = weight_grad_by_im2col(dy64, x64, g)
    for by_winograd, by_im2col, arrays, exact in (
        (forward_by_winograd(m), forward_by_im2col, (x, weights), y64),
        (input_grad_by_winograd(m), input_grad_by_im2col, (dy, weights), dx64),
        (weight_grad_by_winograd(winograd.grad_by_lanes, m), weight_grad_by_im2col, (dy, x), dw64),
        (weight_grad_by_winograd(winograd.grad_by_stages, m), weight_grad_by_im2col, (dy, x), dw64),
    ):
        assert worst(by_winograd(*arrays, g), exact) <= 8 * worst(by_im2col(*arrays, g), exact)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e38])
def test_winograd_keeps_what_is_not_finite_in_its_place(rng, value):
    x, w = draw(rng, (3, 16, 12, 13), "float32"), draw(rng, (16, 16, 3, 3), "float32")
    x[1, 5, 6, 7] = value
    g = geometry_of(x.shape, w.shape, {"padding": 1})
    assert choose.winograd_tile(correlation_of(g), by_group(x, g.groups)) is not None
    with np.errstate(all="ignore"):
        exact = forward_by_im2col(x, w, g)
        got = kernels.conv2d(x, w, padding=1)
    np.testing.assert_array_equal(np.isfinite(got), np.isfinite(exact))
    np.testing.assert_array_equal(got[~np.isfinite(exact)], exact[~np.isfinite(exact)])
    dy = draw(rng, g.y_shape, "float32")
    dw, exact = kernels.conv2d_weight_grad(dy, x, w.shape, padding=1), weight_grad_by_im2col(dy, x, g)
    np.testing.assert_array_equal(np.isfinite(dw), np.isfinite(exact))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("stride", [1, 2], ids=["shifts", "bands"])
def test_products_with_0_spoil_nothing(rng, stride, value):
    """What is not finite reaches the outputs of its windows alone: exactly what multiply-adds tap by tap give."""
    x, w, b = draw(rng, (4, 3, 18, 12), "float32"), draw(rng, (3, 1, 3, 3), "float32"), draw(rng, (3,), "float32")
    options = {"padding": 1, "stride": stride, "groups": 3}
    g = geometry_of(x.shape, w.shape, options)
    c = correlation_of(g)
    assert choose.shifts_suit(c, x) if stride == 1 else choose.bands_suit(c, False, x) and choose.bands_suit(c, True, x)
    dy = draw(rng, g.y_shape, "float32")
    for spoilt in (x[1, 2, 7:9], dy[2, 1, 3]):
        kept = spoilt.copy()
        spoilt[..., spoilt.shape[-1] // 2] = value
        with np.errstate(all="ignore"):
            y, dx = kernels.conv2d(x, w, b, **options), kernels.conv2d_input_grad(dy, w, x.shape, **options)
            dw = kernels.conv2d_weight_grad(dy, x, w.shape, **options)
            exact_y, exact_dx = forward_by_taps(x, w, g) + b[:, None, None], input_grad_by_taps(dy, w, g)
            exact_dw = weight_grad_by_windows(dy, x, g)
        for got, exact in ((y, exact_y), (dx, exact_dx), (dw, exact_dw)):
            np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-5)
        spoilt[...] = kept


def test_ieee_keeps_to_im2col(rng):
    x, w = draw(rng, (2, 16, 16, 16), "float32"), draw(rng, (16, 16, 3, 3), "float32")
    g = geometry_of(x.shape, w.shape, {"padding": 1})
    dy = draw(rng, g.y_shape, "float32")
    calls = {
        "y": (lambda: kernels.conv2d(x, w, padding=1), forward_by_im2col(x, w, g)),
        "dx": (lambda: kernels.conv2d_input_grad(dy, w, x.shape, padding=1), input_grad_by_im2col(dy, w, g)),
        "dw": (lambda: kernels.conv2d_weight_grad(dy, x, w.shape, padding=1), weight_grad_by_im2col(dy, x, g)),
    }
    for call, by_im2col in calls.values():
        assert not np.array_equal(call(), by_im2col)
        with precision.use_float32_precision("ieee"):
            np.testing.assert_array_equal(call(), by_im2col)


CALLS = {
    "conv2d 3x3": (((4, 32, 28, 28), (48, 32, 3, 3)), {"padding": 1}),
    "conv2d few tiles": (((2, 160, 7, 7), (160, 160, 3, 3)), {"padding": 1}),
    "conv2d 1x1": (((4, 64, 20, 20), (96, 64, 1, 1)), {}),
    "conv2d 5x5 stride 2": (((4, 24, 33, 31), (40, 24, 5, 5)), {"stride": 2, "padding": 2}),
    "conv2d stem": (((2, 3, 90, 90), (32, 3, 7, 7)), {"stride": 2, "padding": 3}),
    "conv2d few channels": (((40, 6, 22, 22), (16, 6, 5, 5)), {"padding": (2, 0)}),
    "conv2d groups": (((9, 48, 28, 28), (96, 6, 3, 3)), {"padding": 1, "groups": 8}),
    "depthwise": (((4, 64, 40, 40), (64, 1, 3, 3)), {"padding": 1, "groups": 64}),
    "depthwise small": (((4, 160, 14, 14), (160, 1, 3, 3)), {"padding": 1, "groups": 160}),
}


def results(rng: np.random.Generator) -> dict[str, list[Array]]:
    """Every operation at sizes that have work for several threads."""
    found = {}
    for name, ((x_shape, w_shape), options) in CALLS.items():
        x, w = draw(rng, x_shape, "float32"), draw(rng, w_shape, "float32")
        y = kernels.conv2d(x, w, **options)
        dy = draw(rng, y.shape, "float32")
        found[name] = [
            y,
            kernels.conv2d_input_grad(dy, w, x_shape, **options),
            kernels.conv2d_weight_grad(dy, x, w_shape, **options),
            kernels.conv2d_bias_grad(dy),
        ]
    x = draw(rng, (4, 64, 56, 56), "float32")
    y, taps = kernels.max_pool2d(x, 3, stride=2, padding=1)
    found["max pool"] = [y, taps, kernels.max_pool2d_grad(y, taps, x.shape, 3, stride=2, padding=1)]
    y = kernels.avg_pool2d(x, 3, stride=2, padding=1)
    found["average pool"] = [y, kernels.avg_pool2d_grad(y, x.shape, 3, stride=2, padding=1)]
    x, w = draw(rng, (96, 3000), "float32"), draw(rng, (1000, 3000), "float32")
    y = kernels.linear(x, w)
    dx, dw = kernels.linear_input_grad(y, w), kernels.linear_weight_grad(y, x)
    found["linear"] = [y, dx, dw, kernels.linear_bias_grad(y)]
    return found


def test_bits_do_not_depend_on_the_number_of_threads():
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    one_by_one = []
    for count in (1, 2, 3, 1):
        with limits(count, user_api="blas"):
            one_by_one.append(results(np.random.default_rng(7)))
    for other in one_by_one[1:]:
        for name, arrays in one_by_one[0].items():
            for expected, got in zip(arrays, other[name], strict=True):
                np.testing.assert_array_equal(got, expected, err_msg=name)


BIG = {
    "winograd, weights of 36 MiB": ((2, 512, 28, 28), (512, 512, 3, 3), {"padding": 1}),
    "window of 64x64": ((2, 8, 96, 96), (16, 8, 64, 64), {"padding": 20}),
    "one column of 3 MiB": ((1, 768, 32, 32), (4, 768, 32, 32), {}),
    "depthwise": ((16, 32, 224, 224), (32, 1, 3, 3), {"padding": 1, "groups": 32}),
    "one large image": ((1, 3, 1024, 1024), (8, 3, 3, 3), {"padding": 1}),
}


@pytest.mark.parametrize("case", BIG)
def test_extra_memory_is_under_64_mib(rng, case):
    x_shape, w_shape, options = BIG[case]
    x, w = rng.random(x_shape, np.float32), rng.random(w_shape, np.float32)
    dy = np.ones(geometry_of(x_shape, w_shape, options).y_shape, np.float32)
    for call in (
        lambda: kernels.conv2d(x, w, **options),
        lambda: kernels.conv2d_input_grad(dy, w, x_shape, **options),
        lambda: kernels.conv2d_weight_grad(dy, x, w_shape, **options),
    ):
        tracemalloc.start()
        result = call()
        extra = tracemalloc.get_traced_memory()[1] - result.nbytes
        tracemalloc.stop()
        assert extra < 64 * 2**20


SMALL = {
    "conv2d": lambda a: kernels.conv2d(a["x"], a["w"]),
    "conv2d_input_grad": lambda a: kernels.conv2d_input_grad(a["y"], a["w"], a["x"].shape),
    "conv2d_weight_grad": lambda a: kernels.conv2d_weight_grad(a["y"], a["x"], a["w"].shape),
    "conv2d_bias_grad": lambda a: kernels.conv2d_bias_grad(a["y"]),
    "max_pool2d": lambda a: kernels.max_pool2d(a["x"], 2),
    "avg_pool2d": lambda a: kernels.avg_pool2d(a["x"], 2),
    "linear": lambda a: kernels.linear(a["m"], a["m"]),
}


@pytest.mark.parametrize("operation", SMALL)
def test_overhead_of_a_tiny_call(operation):
    """A call on a handful of numbers is all overhead: 10 to 70 microseconds where this was written, the fastest of
    many. 300 leaves room for slow machines and still notices a thread hand-over or a plan that is made anew."""
    arrays = {
        "x": np.ones((1, 2, 5, 5), np.float32),
        "w": np.ones((2, 2, 2, 2), np.float32),
        "y": np.ones((1, 2, 4, 4), np.float32),
        "m": np.ones((4, 4), np.float32),
    }
    fastest = min(_seconds(SMALL[operation], arrays) for _ in range(200))
    assert fastest < 300e-6


def _seconds(call: Callable[[dict[str, Array]], object], arrays: dict[str, Array]) -> float:
    start = time.perf_counter()
    call(arrays)
    return time.perf_counter() - start
