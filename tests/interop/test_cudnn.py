"""The functions of cupy.cudnn on backstride's kernels, against loops over their definitions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from accuracy import assert_accurate, assert_exact, integers, normal

from backstride import get_float32_precision, kernels, use_float32_precision
from backstride.interop import cudnn
from backstride.interop.cudnn import convolution

REAL = ("float64", "float32", "float16")
AUTO = {"auto_tune": False, "tensor_core": "auto"}
GRADIENT = {**AUTO, "deterministic": False}


def blank(path, shape, dtype):
    """An array to be written, of NaN so that what is left shows."""
    return path.asarray(np.full(shape, np.nan, dtype)).copy()


def extents(x, taps, stride, pad, dilation):
    """Of a convolution's output."""
    return tuple(
        (x + 2 * p - d * (r - 1) - 1) // s + 1 for x, r, s, p, d in zip(x, taps, stride, pad, dilation, strict=True)
    )


def meetings(x, taps, windows, stride, pad, dilation) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Every window with every tap of it that stands on x, and where: (window, tap, position)."""
    for window, tap in itertools.product(np.ndindex(*windows), np.ndindex(*taps)):
        at = tuple(w * s + t * d - p for w, s, t, d, p in zip(window, stride, tap, dilation, pad, strict=True))
        if all(0 <= each < extent for each, extent in zip(at, x, strict=True)):
            yield window, tap, at


def convolved(x, W, gy, pad, stride, dilation, groups):
    """A convolution and its gradients: (y, gx, gW)."""
    y, gx, gW = np.zeros(gy.shape), np.zeros(x.shape), np.zeros(W.shape)
    (c, k), every = (x.shape[1] // groups, W.shape[0] // groups), slice(None)
    for g in range(groups):
        inputs, outputs = slice(g * c, (g + 1) * c), slice(g * k, (g + 1) * k)
        for window, tap, at in meetings(x.shape[2:], W.shape[2:], gy.shape[2:], stride, pad, dilation):
            into, of, by = (every, outputs, *window), (every, inputs, *at), (outputs, every, *tap)
            y[into] += x[of] @ W[by].T
            gx[of] += gy[into] @ W[by]
            gW[by] += gy[into].T @ x[of]
    return y, gx, gW


CONVOLUTIONS = [
    ((2, 3, 9), (4, 3, 3), (1,), (2,), (1,), 1),
    ((2, 4, 7, 6), (6, 2, 3, 2), (2, 0), (2, 1), (1, 2), 2),
    ((2, 3, 5, 5), (3, 1, 3, 3), (1, 1), (1, 1), (1, 1), 3),
    ((1, 2, 5, 4, 6), (3, 2, 2, 3, 2), (1, 2, 0), (2, 1, 2), (1, 1, 2), 1),
]


@pytest.mark.parametrize(("shape", "w_shape", "pad", "stride", "dilation", "groups"), CONVOLUTIONS)
def test_convolutions(path, shape, w_shape, pad, stride, dilation, groups, rng):
    dtype = np.float32
    windows = (pad, stride, dilation, groups)
    x, W = integers(rng, shape), integers(rng, w_shape)
    y_shape = (shape[0], w_shape[0], *extents(shape[2:], w_shape[2:], stride, pad, dilation))
    gy, b, c = integers(rng, y_shape), integers(rng, (w_shape[0],)), integers(rng, (1, shape[1], *(1 for _ in pad)))
    exact_y, exact_gx, exact_gW = convolved(x, W, gy, *windows)
    on_x, on_W, on_gy, on_b, on_c = (path.asarray(each.astype(dtype)) for each in (x, W, gy, b, c))
    y, gx, gW = (blank(path, each.shape, dtype) for each in (gy, x, W))

    assert cudnn.convolution_forward(on_x, on_W, None, y, *windows, **AUTO) is None
    assert_exact(path.to_numpy(y), exact_y)
    cudnn.convolution_forward(on_x, on_W, on_b, y, *windows, **AUTO)
    assert_exact(path.to_numpy(y), exact_y + b.reshape(1, -1, *(1 for _ in pad)))
    assert cudnn.convolution_backward_data(on_W, on_gy, None, gx, *windows, **GRADIENT) is None
    assert_exact(path.to_numpy(gx), exact_gx)
    cudnn.convolution_backward_data(on_W, on_gy, on_c, gx, *windows, **GRADIENT)
    assert_exact(path.to_numpy(gx), exact_gx + c)
    assert cudnn.convolution_backward_filter(on_x, on_gy, gW, *windows, **GRADIENT) is None
    assert_exact(path.to_numpy(gW), exact_gW)


@pytest.mark.parametrize(("d_layout", "w_layout"), [(1, 1), (1, 0), (0, 1)])
@pytest.mark.parametrize(("shape", "w_shape", "pad", "stride", "dilation", "groups"), CONVOLUTIONS)
def test_convolutions_with_channels_last(path, shape, w_shape, pad, stride, dilation, groups, d_layout, w_layout, rng):
    windows, layouts = (pad, stride, dilation, groups), {"d_layout": d_layout, "w_layout": w_layout}
    y_shape = (shape[0], w_shape[0], *extents(shape[2:], w_shape[2:], stride, pad, dilation))
    x, W, gy, b = (integers(rng, each) for each in (shape, w_shape, y_shape, w_shape[:1]))
    exact_y, exact_gx, exact_gW = convolved(x, W, gy, *windows)

    def laid_out(a, layout):
        return np.ascontiguousarray(np.moveaxis(a, 1, -1)) if layout else a

    x, gy, W = laid_out(x, d_layout), laid_out(gy, d_layout), laid_out(W, w_layout)
    on_x, on_W, on_gy, on_b = (path.asarray(each.astype(np.float32)) for each in (x, W, gy, b))
    y, gx, gW = (blank(path, each.shape, np.float32) for each in (gy, x, W))
    cudnn.convolution_forward(on_x, on_W, on_b, y, *windows, **AUTO, **layouts)
    assert_exact(path.to_numpy(y), laid_out(exact_y + b.reshape(1, -1, *(1 for _ in pad)), d_layout))
    cudnn.convolution_backward_data(on_W, on_gy, None, gx, *windows, **GRADIENT, **layouts)
    assert_exact(path.to_numpy(gx), laid_out(exact_gx, d_layout))
    cudnn.convolution_backward_filter(on_x, on_gy, gW, *windows, **GRADIENT, **layouts)
    assert_exact(path.to_numpy(gW), laid_out(exact_gW, w_layout))


def test_results_are_written_into_arrays_of_any_strides(rng):
    x, W = integers(rng, (2, 3, 6, 5)), integers(rng, (4, 3, 3, 3))
    y = np.full((3, 2, 4, 4), np.nan).transpose(1, 2, 3, 0)[::-1]
    cudnn.convolution_forward(x, W, None, y, (0, 0), (1, 1), None, 1, **AUTO)
    np.testing.assert_array_equal(y, kernels.conv2d(x, W))


def test_never_is_the_precision_ieee(monkeypatch):
    seen = []

    class Path:
        def conv(self, x, *_):
            seen.append(get_float32_precision())
            return x

    monkeypatch.setattr(convolution, "path_of", lambda _: Path())
    x, y = np.ones((1, 1, 1, 1), np.float32), np.empty((1, 1, 1, 1), np.float32)
    with use_float32_precision("tf32"):
        for tensor_core in ("always", "auto", "never"):
            options = {"auto_tune": True, "tensor_core": tensor_core}
            cudnn.convolution_forward(x, x, None, y, (0, 0), (1, 1), (1, 1), 1, **options)
    assert seen == ["tf32", "tf32", "ieee"]


ONE = np.ones((1, 1, 4, 4))
SAME = ((0, 0), (1, 1), (1, 1), 1)


@pytest.mark.parametrize(
    ("arrays", "window", "options", "error", "message"),
    [
        ((ONE, ONE, None, np.ones((1, 1, 2, 1))), SAME, {}, ValueError, r"y.shape is \(1, 1, 2, 1\); expected"),
        ((ONE, np.ones((1, 2, 4, 4)), None, ONE), SAME, {}, ValueError, r"W.shape is \(1, 2, 4, 4\) \(axis 1 is 2\)"),
        ((ONE, ONE, np.ones(2), ONE[..., :1, :1]), SAME, {}, ValueError, r"b.shape is \(2,\); expected 1 elements"),
        ((ONE[0, 0], ONE, None, ONE), SAME, {}, ValueError, r"x.shape is \(4, 4\); expected .* one to three axes"),
        ((ONE, ONE, None, ONE), ((0,), *SAME[1:]), {}, ValueError, r"pad is \(0,\); expected"),
        ((ONE, ONE, None, ONE), (*SAME[:3], 2), {}, ValueError, "groups is 2; expected"),
        ((ONE, ONE, None, ONE), SAME, {"tensor_core": "yes"}, ValueError, "tensor_core is 'yes'; expected"),
        ((ONE, ONE, None, ONE), SAME, {"w_layout": 7}, ValueError, "w_layout is 7; expected CUDNN_TENSOR_NCHW"),
        (
            (np.ones((1, 4, 4, 2)), np.ones((3, 4, 4, 1)), None, ONE),
            SAME,
            {"d_layout": 1, "w_layout": 1},
            ValueError,
            r"W.shape is \(3, 4, 4, 1\) \(axis 3 is 1\); expected axis 3 to be C/groups = 2/1",
        ),
        (
            (np.ones((1, 6, 6, 2)), np.ones((3, 3, 3, 2)), None, ONE),
            SAME,
            {"d_layout": 1, "w_layout": 1},
            ValueError,
            r"y.shape is \(1, 1, 4, 4\); expected \(1, 4, 4, 3\), that is \(N, ..., K\)",
        ),
        ((ONE, ONE.astype("f4"), None, ONE), SAME, {}, TypeError, "W.dtype is float32; expected float64 as x"),
        ((ONE, ONE, None, ONE.astype("f4")), SAME, {}, TypeError, "y.dtype is float32; expected float64 as x"),
        ((ONE, ONE, None, None), SAME, {}, TypeError, "y is a NoneType; expected a numpy.ndarray or cupy.ndarray"),
    ],
)
def test_wrong_arguments_are_named_before_anything_is_written(arrays, window, options, error, message):
    y = arrays[3]
    before = None if y is None else y.copy()
    options = {**AUTO, **options}
    if y is ONE and error is not TypeError and "tensor_core is" in message:
        arrays = (*arrays[:3], ONE[..., :1, :1].copy())
    with pytest.raises(error, match=f"^convolution_forward: {message}"):
        cudnn.convolution_forward(*arrays, *window, **options)
    np.testing.assert_array_equal(y, before)


def pooled(x, y_shape, ksize, stride, pad):
    """The elements of every window and where they stand: {window: [(position, (N, C))]}."""
    found = {window: [] for window in np.ndindex(*y_shape[2:])}
    for window, _, at in meetings(x.shape[2:], ksize, y_shape[2:], stride, pad, (1,) * len(ksize)):
        found[window].append((at, x[(..., *at)]))
    return found


POOLS = [
    ((2, 3, 9), (3,), (2,), (1,)),
    ((2, 3, 7, 6), (3, 2), (2, 3), (1, 0)),
    ((2, 2, 5, 4, 6), (2, 3, 2), (2, 1, 2), (0, 1, 1)),
]


def floor(x, ksize, stride, pad):
    return extents(x, ksize, stride, pad, (1,) * len(ksize))


def cover(x, ksize, stride, pad):
    """Chainer's cover_all (chainer/utils/conv.py, get_conv_outsize): every element is under a window."""
    return tuple((x + 2 * p - k + s - 1) // s + 1 for x, k, s, p in zip(x, ksize, stride, pad, strict=True))


@pytest.mark.parametrize("mode", [cudnn.CUDNN_POOLING_MAX, cudnn.CUDNN_POOLING_MAX_DETERMINISTIC])
@pytest.mark.parametrize("size", [floor, cover])
@pytest.mark.parametrize(
    ("shape", "ksize", "stride", "pad"),
    [*POOLS, ((1, 2, 3, 3), (2, 2), (2, 2), (1, 1)), ((1, 2, 4, 5), (2, 2), (3, 5), (0, 0))],
)
def test_max_pooling(path, shape, ksize, stride, pad, size, mode, rng):
    """Integers with ties; of some sizes the last window lies wholly in padding."""
    x = rng.integers(-2, 3, shape).astype(np.float64)
    y_shape = (*shape[:2], *size(shape[2:], ksize, stride, pad))
    gy, exact_y, exact_gx = integers(rng, y_shape), np.full(y_shape, -np.inf), np.zeros(shape)
    for window, elements in pooled(x, y_shape, ksize, stride, pad).items():
        if elements:
            values = np.array([value for _, value in elements])
            exact_y[(..., *window)] = values.max(axis=0)
            for n, c in np.ndindex(*shape[:2]):
                exact_gx[(n, c, *elements[values[:, n, c].argmax()][0])] += gy[(n, c, *window)]
    on_x, on_gy, y = path.asarray(x), path.asarray(gy), blank(path, y_shape, np.float64)
    assert cudnn.pooling_forward(on_x, y, ksize, stride, pad, mode) is y
    np.testing.assert_array_equal(path.to_numpy(y), exact_y)
    gx = cudnn.pooling_backward(on_x, y, on_gy, ksize, stride, pad, mode)
    np.testing.assert_array_equal(path.to_numpy(gx), exact_gx)


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize(("shape", "ksize", "stride", "pad"), POOLS)
def test_average_pooling(path, shape, ksize, stride, pad, include, rng):
    dtype = "float16"
    kind = "INCLUDE" if include else "EXCLUDE"
    mode = getattr(cudnn, f"CUDNN_POOLING_AVERAGE_COUNT_{kind}_PADDING")
    x = normal(rng, shape, dtype)
    y_shape = (*shape[:2], *floor(shape[2:], ksize, stride, pad))
    gy = normal(rng, y_shape, dtype)
    exact_y, size_y, exact_gx, size_gx = (np.zeros(each) for each in (y_shape, y_shape, shape, shape))
    for window, elements in pooled(x, y_shape, ksize, stride, pad).items():
        divisor, at_y = np.prod(ksize) if include else len(elements), (..., *window)
        for at, value in elements:
            exact_y[at_y] += value / divisor
            size_y[at_y] += abs(value) / divisor
            exact_gx[(..., *at)] += gy[at_y] / divisor
            size_gx[(..., *at)] += abs(gy[at_y]) / divisor
    on_x, on_gy = (path.asarray(each.astype(dtype)) for each in (x, gy))
    y = blank(path, y_shape, dtype)
    cudnn.pooling_forward(on_x, y, ksize, stride, pad, mode)
    assert_accurate(path.to_numpy(y), exact_y, size_y, int(np.prod(ksize)))
    gx = cudnn.pooling_backward(on_x, y, on_gy, ksize, stride, pad, mode)
    assert_accurate(path.to_numpy(gx), exact_gx, size_gx, int(np.prod(ksize)))


@pytest.mark.parametrize(
    ("y_shape", "mode", "message"),
    [
        ((1, 1, 2, 2), 4, r"mode is 4; expected one of CUDNN_POOLING_\*"),
        ((1, 1, 4, 3), 0, r"y.shape is \(1, 1, 4, 3\); expected \(1, 1, 2, 3\)"),
        ((1, 1, 3), 0, r"y.shape is \(1, 1, 3\); expected \(1, 1, 2, 2\)"),
        ((1, 1, 3, 3), 1, r"y.shape is \(1, 1, 3, 3\); expected \(1, 1, 2, 2\)"),
    ],
)
def test_a_pool_of_another_shape_or_mode(y_shape, mode, message):
    x, y = np.zeros((1, 1, 5, 5)), np.ones(y_shape)
    with pytest.raises(ValueError, match=f"^pooling_forward: {message}"):
        cudnn.pooling_forward(x, y, (2, 2), (2, 2), (0, 0), mode)
    assert (y == 1).all()


SPATIAL, PER_ACTIVATION = cudnn.CUDNN_BATCHNORM_SPATIAL, cudnn.CUDNN_BATCHNORM_PER_ACTIVATION
NORMS = [
    ((5, 3, 4, 2), (3,), True, SPATIAL, (0, 2, 3)),
    ((5, 3, 4, 2), (1, 3, 1, 1), True, cudnn.CUDNN_BATCHNORM_SPATIAL_PERSISTENT, (0, 2, 3)),
    ((4, 3, 7), (3,), True, SPATIAL, (0, 2)),
    ((6, 2, 3, 2), (1, 2, 3, 2), True, PER_ACTIVATION, (0,)),
    ((6, 5), (5,), False, PER_ACTIVATION, (0,)),
    ((3, 2, 5), (5,), False, SPATIAL, (0, 1)),
]


@pytest.mark.parametrize(("given", "d_layout"), [(False, 0), (True, 0), (False, 1), (True, 1)])
@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize(("shape", "parameters", "is_for_conv2d", "mode", "axes"), NORMS)
def test_batch_normalization(path, shape, parameters, is_for_conv2d, mode, axes, dtype, given, d_layout, rng):
    """Programs keep gamma and running statistics in x's dtype, float16 too."""
    eps, decay, kept = 1e-3, 0.75, np.float32 if dtype == "float16" else np.dtype(dtype)
    x, gy = normal(rng, shape, dtype), normal(rng, shape, dtype)
    gamma, beta, running_mean, running_var = (1 + rng.integers(0, 4, parameters) / 4 for _ in range(4))
    count = x.size // gamma.size
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    inv_std = 1 / np.sqrt(var + eps)
    z = (x - mean) * inv_std
    broadcast = mean.shape
    exact_y = z * gamma.reshape(broadcast) + beta.reshape(broadcast)
    gbeta, ggamma = gy.sum(axes, keepdims=True), (gy * z).sum(axes, keepdims=True)
    exact_gx = gamma.reshape(broadcast) * inv_std * (gy - gbeta / count - z * ggamma / count)

    def laid_out(a, source=1, target=-1):
        last = d_layout and is_for_conv2d and a.ndim == len(shape)
        return np.ascontiguousarray(np.moveaxis(a, source, target)) if last else a

    on = [path.asarray(laid_out(each).astype(dtype)) for each in (x, gamma, beta)]
    running = [path.asarray(laid_out(each).astype(dtype)).copy() for each in (running_mean, running_var)]
    saved = [blank(path, on[1].shape, kept) for _ in range(2)] if given else [None, None]
    arguments = (*on, *running, *saved, eps, decay, is_for_conv2d, mode, False)
    reserve_space, y, *found = cudnn.batch_normalization_forward_training_ex(*arguments, d_layout=d_layout)
    assert reserve_space is None
    found = saved if given else found
    # a handful of roundings on each way from values of magnitude 1 to a few: 16-bit results round once more
    close = {"float64": 1e-13, "float32": 2e-5, "float16": 4e-3}[dtype]

    def same(got, exact, kind, tolerance=close):
        exact = laid_out(exact)
        assert (got.shape, got.dtype) == (exact.shape, np.dtype(kind))
        np.testing.assert_allclose(path.to_numpy(got).astype(np.float64), exact, rtol=tolerance, atol=tolerance)

    same(y, exact_y, dtype)
    same(found[0], mean.reshape(parameters), kept)
    same(found[1], inv_std.reshape(parameters), kept)
    unbiased = var.reshape(parameters) * count / (count - 1)
    same(running[0], decay * running_mean + (1 - decay) * mean.reshape(parameters), dtype)
    same(running[1], decay * running_var + (1 - decay) * unbiased, dtype)

    on_gy = path.asarray(laid_out(gy).astype(dtype))
    gx, *gradients = cudnn.batch_normalization_backward(
        on[0], on[1], on_gy, *found, eps, is_for_conv2d, mode, False, d_layout=d_layout, reserve_space=reserve_space
    )
    same(gx, exact_gx, dtype)
    same(gradients[0], ggamma.reshape(parameters), dtype, 5 * close)  # sums of up to 40 terms
    same(gradients[1], gbeta.reshape(parameters), dtype, 5 * close)
    y = cudnn.batch_normalization_forward_inference(*on, *running, eps, is_for_conv2d, mode, d_layout)
    center, spread = (laid_out(path.to_numpy(each), -1, 1).astype(np.float64).reshape(broadcast) for each in running)
    exact = (x - center) / np.sqrt(spread + eps) * gamma.reshape(broadcast) + beta.reshape(broadcast)
    same(y, exact, dtype)


def test_results_of_batch_normalization_as_it_was_before_ex(rng):
    x, one, zero = rng.standard_normal((4, 2, 3, 3)), np.ones(2), np.zeros(2)
    rest = (1e-5, 0.9, True, SPATIAL, False)
    y, mean, inv_std = cudnn.batch_normalization_forward_training(
        x, one, zero, zero.copy(), one.copy(), None, None, *rest
    )
    saved = np.empty(2), np.empty(2)
    same = cudnn.batch_normalization_forward_training(x, one, zero, zero.copy(), one.copy(), *saved, *rest)
    for got, expected in zip((same, *saved), (y, mean, inv_std), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_one_value_for_each_channel_leaves_the_running_variance():
    one, mean, var = np.ones(3), np.zeros(3), np.full(3, 7.0)
    y, *_ = cudnn.batch_normalization_forward_training(
        np.ones((1, 3)) * 5, one, one, mean, var, None, None, 1e-5, 0.5, False, PER_ACTIVATION, False
    )
    np.testing.assert_array_equal(y, np.ones((1, 3)))
    np.testing.assert_array_equal((mean, var), (np.full(3, 2.5), np.full(3, 7.0)))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"running_var": np.ones(2)}, ValueError, r"running_var.shape is \(2,\); expected 3 elements"),
        ({"inv_std": np.ones(3)}, ValueError, "inv_std is an array; expected None where mean is"),
        ({"cudnn_mode": 5}, ValueError, r"cudnn_mode is 5; expected one of CUDNN_BATCHNORM_\*"),
        ({"gamma": np.ones(3, int)}, TypeError, "gamma.dtype is int64; expected a float dtype"),
        ({"d_layout": 2}, ValueError, r"d_layout is 2; expected CUDNN_TENSOR_NCHW \(0\) or CUDNN_TENSOR_NHWC \(1\)"),
        ({"d_layout": 1}, ValueError, r"gamma.shape is \(3,\); expected 4 elements"),
    ],
)
def test_wrong_arguments_of_batch_normalization(changed, error, message):
    running = {"running_mean": np.ones(3), "running_var": np.ones(3)}
    arrays = {"gamma": np.ones(3), "beta": np.ones(3), **running, "mean": None, "inv_std": None}
    options = {"eps": 1e-5, "decay": 0.5, "is_for_conv2d": True, "cudnn_mode": SPATIAL, "debug": False}
    with pytest.raises(error, match=f"^batch_normalization_forward_training: {message}"):
        cudnn.batch_normalization_forward_training_ex(np.ones((2, 3, 4, 4)), **{**arrays, **options, **changed})
    assert all((each == 1).all() for each in running.values())


ACTIVATIONS = {
    "SIGMOID": (0.0, lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (2 + np.exp(-x) + np.exp(x))),
    "RELU": (0.0, lambda x: np.maximum(x, 0), lambda x: x > 0),
    "TANH": (0.0, np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "CLIPPED_RELU": (1.25, lambda x: np.clip(x, 0, 1.25), lambda x: (x > 0) & (x < 1.25)),
    "ELU": (1.5, lambda x: np.where(x > 0, x, 1.5 * np.expm1(x)), lambda x: np.where(x > 0, 1, 1.5 * np.exp(x))),
}


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(path, name, dtype, rng):
    coef, function, derivative = ACTIVATIONS[name]
    mode = getattr(cudnn, f"CUDNN_ACTIVATION_{name}")
    x, gy = 2 * normal(rng, (3, 5, 7), dtype), normal(rng, (3, 5, 7), dtype)
    on_x, on_gy = (path.asarray(each.astype(dtype)) for each in (x, gy))
    y = cudnn.activation_forward(on_x, mode, coef)
    gx = cudnn.activation_backward(on_x, y, on_gy, mode, coef)
    # a few roundings, and in 16 bits y's own in the gradient
    close = {"float64": 1e-14, "float32": 3e-6, "float16": 4e-3}[dtype]
    for got, exact in ((y, function(x)), (gx, gy * derivative(x))):
        assert got.dtype == dtype
        np.testing.assert_allclose(path.to_numpy(got).astype(np.float64), exact, rtol=close, atol=close)


def test_an_activation_that_is_none():
    with pytest.raises(ValueError, match=r"^activation_forward: mode is 5; expected CUDNN_ACTIVATION_SIGMOID, _RELU"):
        cudnn.activation_forward(np.ones(3), cudnn.CUDNN_ACTIVATION_IDENTITY)


@pytest.mark.parametrize("axis", [1, -2, 0])
@pytest.mark.parametrize("algorithm", ["FAST", "ACCURATE", "LOG"])
def test_softmax(path, algorithm, axis, rng):
    """Chainer's softmax and log_softmax (chainer/functions/activation) pass any axis."""
    mode = getattr(cudnn, f"CUDNN_SOFTMAX_{algorithm}")
    x, gy = 3 * rng.standard_normal((4, 5, 3)), rng.standard_normal((4, 5, 3))
    on_x, on_gy = path.asarray(x), path.asarray(gy)
    y = cudnn.softmax_forward(on_x, axis, mode)
    gx = cudnn.softmax_backward(y, on_gy, axis, mode)
    exact = np.exp(x) / np.exp(x).sum(axis, keepdims=True)
    if algorithm == "LOG":
        expected, gradient = np.log(exact), gy - exact * gy.sum(axis, keepdims=True)
    else:
        expected, gradient = exact, exact * (gy - (gy * exact).sum(axis, keepdims=True))
    for got, right in ((y, expected), (gx, gradient)):  # a few roundings of sums of five terms
        np.testing.assert_allclose(path.to_numpy(got), right, rtol=1e-13, atol=1e-13)


def test_a_softmax_that_is_none():
    with pytest.raises(ValueError, match=r"^softmax_forward: algorithm is 3; expected one of CUDNN_SOFTMAX_FAST"):
        cudnn.softmax_forward(np.ones((2, 3)), 1, 3)


def test_what_is_not_there_says_so():
    for name in ("rnn_forward_training", "ctc_loss", "create_spatial_transformer_descriptor", "DropoutStates"):
        with pytest.raises(NotImplementedError, match=f"^{name}: .* RNN, CTC, spatial transformers"):
            getattr(cudnn, name)(None, 1)
    with pytest.raises(AttributeError, match="no attribute 'convolve'"):
        _ = cudnn.convolve


def test_what_programs_ask_of_the_machine(monkeypatch):
    assert cudnn.get_max_workspace_size() == 8 * 2**20
    cudnn.set_max_workspace_size(7)
    assert cudnn.get_max_workspace_size() == 7
    cudnn.set_max_workspace_size(8 * 2**20)
    assert not cudnn.is_tensor_core_available(np.dtype("f4"))
