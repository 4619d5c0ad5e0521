"""Every algorithm of the blocked NumPy path on its own, whichever the rule would choose."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
import reference
from accuracy import assert_exact
from gradcheck import assert_gradient

from backstride import kernels
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
)
from backstride.kernels.blocked.correlation import by_group, weights_by_group
from backstride.kernels.blocked.residues import classes
from backstride.kernels.conv import cpu as plain
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
TRANSPOSED = [
    # x, w, options of conv_transpose2d
    ((2, 4, 5, 4), (4, 3, 3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((2, 3, 4, 6), (3, 2, 2, 3), {"stride": (1, 2), "dilation": (1, 3), "padding": (0, 2), "output_padding": (0, 2)}),
    ((1, 4, 6, 5), (4, 2, 3, 2), {"padding": ((2, 0), (0, 1)), "dilation": (1, 2), "output_padding": (0, 1)}),
    ((1, 4, 6, 5), (4, 2, 3, 2), {"dilation": (1, 2), "output_padding": (0, 1), "groups": 2}),
]
TRANSPOSED_DEPTHWISE = [
    ((4, 6, 9, 4), (6, 1, 5, 1), {"padding": (0, 1), "dilation": (1, 3), "output_padding": (0, 2), "groups": 6}),
    ((4, 2, 5, 6), (2, 1, 3, 3), {"stride": (3, 1), "padding": (1, 2), "output_padding": (2, 0), "groups": 2}),
    ((4, 3, 7, 4), (3, 1, 2, 2), {"stride": (1, 2), "padding": (0, 1), "output_padding": (0, 1), "groups": 3}),
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


def weight_grad_by_taps(dy: Array, x: Array, g: ConvGeometry) -> Array:
    dw = np.empty(g.w_shape, x.dtype)
    depthwise.weight_grad(by_group(dy, g.groups), x, weights_by_group(dw, g.groups)[:, :, 0], correlation_of(g))
    return dw


def weight_grad_by_shifts(dy: Array, x: Array, g: ConvGeometry) -> Array:
    dw = np.empty(g.w_shape, x.dtype)
    shifts.weight_grad(dy, x, dw[:, 0], correlation_of(g))
    return dw


FORWARD = {
    "im2col": (forward_by_im2col, ANY + DEPTHWISE + MULTIPLIED),
    "rows": (forward_by_rows, UNDILATED),
    "taps": (forward_by_taps, DEPTHWISE + MULTIPLIED),
    "bands": (forward_by_bands, DEPTHWISE),
    "shifts": (forward_by_shifts, KEEPING_THE_WIDTH),
}
INPUT_GRAD = {
    "im2col": (input_grad_by_im2col, ANY + DEPTHWISE + MULTIPLIED),
    "rows": (input_grad_by_classes(rows.correlate), UNDILATED),
    "col2im": (input_grad_by_col2im, ANY + DEPTHWISE + MULTIPLIED),
    "taps": (input_grad_by_taps, DEPTHWISE + MULTIPLIED),
    "bands": (input_grad_by_bands, DEPTHWISE),
    "shifts": (input_grad_by_shifts, KEEPING_THE_WIDTH),
}
TRANSPOSE = {
    "im2col": (input_grad_by_im2col, TRANSPOSED + TRANSPOSED_DEPTHWISE),
    "rows": (input_grad_by_classes(rows.correlate), TRANSPOSED[:1]),
    "col2im": (input_grad_by_col2im, TRANSPOSED + TRANSPOSED_DEPTHWISE),
    "taps": (input_grad_by_taps, TRANSPOSED_DEPTHWISE),
    "bands": (input_grad_by_bands, TRANSPOSED_DEPTHWISE),
}
WEIGHT_GRAD = {
    "im2col": (weight_grad_by_im2col, ANY + DEPTHWISE + MULTIPLIED),
    "rows": (weight_grad_by_rows, UNDILATED),
    "taps": (weight_grad_by_taps, DEPTHWISE + MULTIPLIED),
    "shifts": (weight_grad_by_shifts, [case for case in KEEPING_THE_WIDTH if "stride" not in case[2]]),
}


def cases(algorithms: dict) -> list:
    return [
        pytest.param(algorithm, *case, dtype, id=f"{name}-{i}-{dtype}")
        for name, (algorithm, shapes) in algorithms.items()
        for i, case in enumerate(shapes)
        for dtype in ("float32", "float64")
    ]


def assert_near(got: Array, exact: Array, dtype: str) -> None:
    """Every sum here has under 3,000 products, and rounding them errs by less than 20 eps of the largest element."""
    assert got.shape == exact.shape
    tolerance = 20 * np.finfo(dtype).eps
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


@pytest.mark.parametrize(("algorithm", "x_shape", "w_shape", "options", "dtype"), cases(TRANSPOSE))
def test_transposed(rng, algorithm, x_shape, w_shape, options, dtype):
    """With output_padding the result reaches beyond what the padding says."""
    given = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1, "groups": 1, **options}
    g = ConvGeometry.of_transposed("test", x_shape, w_shape, **given)
    x, w = draw(rng, x_shape, dtype), draw(rng, w_shape, dtype)
    exact = reference.conv_transpose2d(x.astype(np.float64), w.astype(np.float64), **options)
    assert_near(algorithm(x, w, g), exact, dtype)


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


@pytest.mark.parametrize("name", INPUT_GRAD)
def test_input_grad_is_a_gradient(rng, name):
    algorithm, shapes = INPUT_GRAD[name]
    x_shape, w_shape, options = shapes[1]
    g = geometry_of(x_shape, w_shape, options)
    x, w, dy = draw(rng, x_shape, "float64"), draw(rng, w_shape, "float64"), draw(rng, g.y_shape, "float64")
    assert_gradient(lambda x: forward_by_im2col(x, w, g), x, dy, algorithm(dy, w, g), rng)


@pytest.mark.parametrize("name", WEIGHT_GRAD)
def test_weight_grad_is_a_gradient(rng, name):
    algorithm, shapes = WEIGHT_GRAD[name]
    x_shape, w_shape, options = shapes[1]
    g = geometry_of(x_shape, w_shape, options)
    x, w, dy = draw(rng, x_shape, "float64"), draw(rng, w_shape, "float64"), draw(rng, g.y_shape, "float64")
    assert_gradient(lambda w: forward_by_im2col(x, w, g), w, dy, algorithm(dy, x, g), rng)


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
            exact_dw = plain.conv_weight_grad(dy, x, g)
        for got, exact in ((y, exact_y), (dx, exact_dx), (dw, exact_dw)):
            np.testing.assert_allclose(got, exact, rtol=1e-5, atol=1e-5)
        spoilt[...] = kept
