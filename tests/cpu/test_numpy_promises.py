"""What both NumPy paths promise, whatever computes: little memory, bits that depend on nothing but the inputs, results
made of the products that the definition names, and costs that follow the data.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import conftest
import numpy as np
import pytest
import reference
from accuracy import assert_accurate

from backstride import kernels

Array = np.ndarray


@pytest.fixture(params=["numpy", "jit"])
def path(request):
    with conftest.PATHS[request.param]() as found:
        yield found


def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "float32") -> Array:
    return rng.standard_normal(shape).astype(dtype)


CALLS = {
    "conv2d 3x3": (((4, 32, 28, 28), (48, 32, 3, 3)), {"padding": 1}),
    "conv2d few pixels": (((2, 160, 7, 7), (160, 160, 3, 3)), {"padding": 1}),
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
        x, w = draw(rng, x_shape), draw(rng, w_shape)
        y = kernels.conv2d(x, w, **options)
        dy = draw(rng, y.shape)
        found[name] = [
            y,
            kernels.conv2d_input_grad(dy, w, x_shape, **options),
            kernels.conv2d_weight_grad(dy, x, w_shape, **options),
            kernels.conv2d_bias_grad(dy),
        ]
    x = draw(rng, (4, 64, 56, 56))
    y, taps = kernels.max_pool2d(x, 3, stride=2, padding=1)
    found["max pool"] = [y, taps, kernels.max_pool2d_grad(y, taps, x.shape, 3, stride=2, padding=1)]
    y = kernels.avg_pool2d(x, 3, stride=2, padding=1)
    found["average pool"] = [y, kernels.avg_pool2d_grad(y, x.shape, 3, stride=2, padding=1)]
    x, w = draw(rng, (96, 3000)), draw(rng, (1000, 3000))
    y = kernels.linear(x, w)
    dx, dw = kernels.linear_input_grad(y, w), kernels.linear_weight_grad(y, x)
    found["linear"] = [y, dx, dw, kernels.linear_bias_grad(y)]
    for shape in ((7, 24, 43, 45), (700, 24, 6, 5)):
        found[f"of elements {shape}"] = of_elements(*(draw(rng, shape) for _ in range(3)))
    return found


def of_elements(x: Array, residual: Array, dy: Array) -> list[Array]:
    """What takes elements or channels one by one, and losses, which sum over all."""
    gamma, beta = x[0, :, 0, 0], x[0, :, 0, 1]
    y, mean, var = kernels.batch_norm(x, gamma, beta, activation="relu", residual=residual)
    options = {"activation": "relu", "residual": True, "beta": beta, "y": y}
    grads = kernels.batch_norm_grads(dy, x, gamma, mean, var, **options)
    found = [y, mean, var, *grads]
    y, mean, var = kernels.group_norm(x, 4, gamma, beta)
    found += [y, mean, var, *kernels.group_norm_grads(dy, x, 4, gamma, mean, var)]
    y, mean, var = kernels.layer_norm(x, x.shape[-1:])
    found += [y, mean, var, *kernels.layer_norm_grads(dy, x, x.shape[-1:], None, mean, var)]
    for name in ("relu", "gelu", "silu", "tanh"):
        found += [getattr(kernels, name)(x), getattr(kernels, f"{name}_grad")(dy, x)]
    for axis in (-1, 1):
        p = kernels.softmax(x, axis=axis)
        found += [p, kernels.softmax_grad(dy, p, axis=axis), kernels.log_softmax(x, axis=axis)]
    labels = np.abs(x[:, 0]).astype(int)
    found += kernels.cross_entropy(x, labels, weight=np.abs(gamma), label_smoothing=0.1)
    found += [*kernels.mse(x, dy), *kernels.bce_with_logits(x, dy)]
    return found


def test_bits_do_not_depend_on_the_number_of_threads(path):
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    one_by_one = []
    for count in (1, 2, 3, 1):
        with limits(count, user_api="blas"):
            one_by_one.append(results(np.random.default_rng(7)))
    for other in one_by_one[1:]:
        for name, arrays in one_by_one[0].items():
            for expected, got in zip(arrays, other[name], strict=True):
                np.testing.assert_array_equal(got, expected, err_msg=name)


BIG: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], str]] = {
    "weights of 9 MiB": ((2, 512, 28, 28), (512, 512, 3, 3), {"padding": 1}, "float32"),
    "window of 64x64": ((1, 4, 80, 80), (8, 4, 64, 64), {}, "float32"),
    "a column of 3 MiB": ((1, 768, 32, 32), (4, 768, 32, 32), {}, "float32"),
    "a long window": ((1, 30, 2, 2000), (2, 30, 2, 2000), {}, "float16"),
    "depthwise": ((4, 32, 224, 224), (32, 1, 3, 3), {"padding": 1, "groups": 32}, "float32"),
    "one large image": ((1, 3, 1024, 1024), (8, 3, 3, 3), {"padding": 1}, "float32"),
    "many filters": ((1, 2, 2, 2), (300000, 2, 1, 1), {}, "float16"),
    "resnet in float16": ((16, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}, "float16"),
}


def extra_bytes(call: Callable[..., Any], *arguments: Any, **options: Any) -> int:
    """The most that a call allocates at any moment, less what it returns."""
    tracemalloc.start()
    result = call(*arguments, **options)
    outputs = result if isinstance(result, tuple) else (result,)
    extra = tracemalloc.get_traced_memory()[1] - sum(a.nbytes for a in outputs)
    tracemalloc.stop()
    return extra


@pytest.mark.parametrize("case", BIG)
def test_extra_memory_is_under_64_mib(path, rng, case):
    x_shape, w_shape, options, dtype = BIG[case]
    x, w = draw(rng, x_shape, dtype), draw(rng, w_shape, dtype)
    dy = np.ones_like(kernels.conv2d(x, w, **options))
    assert extra_bytes(kernels.conv2d, x, w, **options) < 64 << 20
    assert extra_bytes(kernels.conv2d_input_grad, dy, w, x_shape, **options) < 64 << 20
    assert extra_bytes(kernels.conv2d_weight_grad, dy, x, w_shape, **options) < 64 << 20


WIDE = (16, 64, 112, 112)
OF_ELEMENTS: dict[str, Callable[[Array, Array], Any]] = {
    "batch_norm": lambda x, c: kernels.batch_norm(x, c, c, activation="relu", residual=x),
    "batch_norm_grads": lambda x, c: kernels.batch_norm_grads(
        x, x, c, c, c, activation="relu", residual=True, beta=c, y=x
    ),
    "batch_norm_inference": lambda x, c: kernels.batch_norm_inference(x, c, c, c, c),
    "group_norm": lambda x, c: kernels.group_norm(x, 8, c, c),
    "gelu": lambda x, c: kernels.gelu(x),
    "gelu_grad": lambda x, c: kernels.gelu_grad(x, x),
    "softmax": lambda x, c: kernels.softmax(x, axis=1),
    "log_softmax_grad": lambda x, c: kernels.log_softmax_grad(x, x),
    "cross_entropy": lambda x, c: kernels.cross_entropy(
        x, np.zeros((len(x), *x.shape[2:]), int), weight=c, label_smoothing=0.1
    ),
    "mse": lambda x, c: kernels.mse(x, x),
    "bce_with_logits": lambda x, c: kernels.bce_with_logits(x, x),
    "dropout": lambda x, c: kernels.dropout(x, np.zeros(3, np.uint32), 0.5, 1),
    "upsample": lambda x, c: kernels.upsample(x, (112, 113), "bilinear"),
}


@pytest.mark.parametrize("name", OF_ELEMENTS)
def test_extra_memory_of_what_takes_elements(path, name):
    """An input has 49 MiB. Batch normalisation and activations promise it for inputs with gaps too."""
    call, c = OF_ELEMENTS[name], np.full(64, 0.5, np.float32)
    x = np.full(WIDE, 0.5, np.float32)
    call(x[:1, :, :8, :8], c)  # what is compiled is memory of the process
    assert extra_bytes(call, x, c) < 64 << 20
    if name.startswith(("batch_norm", "gelu")):
        assert extra_bytes(call, x.transpose(0, 1, 3, 2), c) < 64 << 20


FAR = {
    # x, w, options
    "one window": ((2, 3, 6, 5), (4, 3, 3, 3), {"stride": 10**9}),
    "one window of many strides": ((2, 3, 6, 5), (4, 3, 3, 3), {"stride": 10**18, "padding": 1}),
    "18 outputs": ((2, 3, 8003, 3), (3, 3, 3, 3), {"stride": (4000, 1)}),
    "depthwise": ((1, 4, 1604, 1604), (4, 1, 3, 3), {"stride": 800, "groups": 4}),
    "wide windows": ((1, 3, 4, 4), (2, 3, 2, 3), {"dilation": 10**9, "padding": ((10**9, 0), (10**9, 10**9))}),
    "wide windows, depthwise": ((4, 3, 5, 4), (3, 1, 3, 1), {"dilation": 10**9, "padding": (10**9, 0), "groups": 3}),
}


@pytest.mark.parametrize("case", FAR)
def test_costs_follow_the_data(path, rng, case):
    """Neither the square of a stride nor that of a dilation: the arrays here, 31 MiB in depthwise, set the limit."""
    x_shape, w_shape, options = FAR[case]
    x, w = draw(rng, x_shape), draw(rng, w_shape)
    y = kernels.conv2d(x, w, **options)
    dy = draw(rng, y.shape)
    x_calls = (
        (kernels.conv2d, reference.conv2d, (x, w)),
        (kernels.conv2d_input_grad, reference.conv2d_input_grad, (dy, w, x_shape)),
        (kernels.conv2d_weight_grad, reference.conv2d_weight_grad, (dy, x, w_shape)),
    )
    for call, exact, arguments in x_calls:
        assert extra_bytes(call, *arguments, **options) < 4 << 20
        magnitude = exact(*(abs(a) if isinstance(a, Array) else a for a in arguments), **options)
        assert_accurate(call(*arguments, **options), exact(*arguments, **options), magnitude, terms=y.size + w.size)


@pytest.mark.parametrize("options", [{"stride": 10**9}, {"stride": 900, "dilation": 1000, "padding": (0, 1000)}])
def test_costs_of_pooling_follow_the_data(path, rng, options):
    x = draw(rng, (2, 3, 1003, 4))
    (y, taps), (exact, _) = kernels.max_pool2d(x, 2, **options), reference.max_pool2d(x, 2, **options)
    np.testing.assert_array_equal(y, exact)
    assert extra_bytes(kernels.max_pool2d_grad, y, taps, x.shape, 2, **options) < 4 << 20
    options = {name: value for name, value in options.items() if name == "stride"}
    assert extra_bytes(kernels.avg_pool2d, x, 2, **options) < 4 << 20


@pytest.mark.parametrize(
    "options", [{"padding": 1}, {"padding": 1, "dilation": 2}, {"padding": 1, "groups": 32}], ids=str
)
def test_sums_of_what_is_not_negative(path, rng, options):
    """Nothing cancels in them, so none is negative, and what is 0 is exactly 0."""
    options = {"padding": 1, **options}
    x = rng.random((8, 32, 24, 24), np.float32) * (rng.random((8, 32, 24, 24)) < 0.002)
    w = rng.random((32, 32 // options.get("groups", 1), 3, 3), np.float32)
    y, exact = kernels.conv2d(x, w, **options), reference.conv2d(x, w, **options)
    assert 1000 < np.count_nonzero(exact) < 0.9 * exact.size
    np.testing.assert_array_equal(y == 0, exact == 0)
    assert y.min() == 0


@pytest.mark.parametrize("groups", [1, 32])
def test_a_large_pixel_stays_in_its_windows(path, rng, groups):
    """The bound of an output is made of its own products alone."""
    x, w = draw(rng, (2, 32, 24, 24)), draw(rng, (32, 32 // groups, 3, 3))
    x[1, 5, 11, 12] = 1e6
    options = {"padding": 1, "groups": groups}
    y, exact = kernels.conv2d(x, w, **options), reference.conv2d(x, w, **options)
    assert_accurate(y, exact, reference.conv2d(abs(x), abs(w), **options), terms=9 * w.shape[1])
    dx = kernels.conv2d_input_grad(x, w, x.shape, **options)
    exact = reference.conv2d_input_grad(x, w, x.shape, **options)
    magnitude = reference.conv2d_input_grad(abs(x), abs(w), x.shape, **options)
    assert_accurate(dx, exact, magnitude, terms=9 * w.shape[1])


PADDED = [
    # x, w, options
    ((2, 4, 7, 6), (5, 4, 3, 3), {"padding": 1}),
    ((2, 4, 5, 5), (3, 4, 1, 1), {"padding": 1}),
    ((2, 4, 9, 8), (6, 2, 3, 4), {"padding": ((0, 2), (3, 1)), "stride": 2, "groups": 2}),
    ((4, 4, 7, 6), (4, 1, 3, 3), {"padding": 1, "groups": 4}),
    ((4, 4, 9, 9), (4, 1, 3, 3), {"padding": 2, "stride": 2, "groups": 4}),
    ((1, 3, 19, 17), (8, 3, 7, 7), {"padding": 3, "stride": 2}),
    ((2, 32, 12, 12), (32, 32, 3, 3), {"padding": 2, "dilation": 2}),
]


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize(("x_shape", "w_shape", "options"), PADDED)
def test_what_is_not_finite_reaches_what_its_taps_reach(path, rng, x_shape, w_shape, options, value):
    """Padding has no elements, so nothing is multiplied with it: 0 * inf would be NaN."""
    x, w = draw(rng, x_shape), draw(rng, w_shape)
    dy = draw(rng, kernels.conv2d(x, w, **options).shape)
    for spoilt in (x, w, dy):
        kept, spoilt[0, 0, 0, 0] = spoilt[0, 0, 0, 0], value
        for call, exact, arguments in (
            (kernels.conv2d, reference.conv2d, (x, w)),
            (kernels.conv2d_input_grad, reference.conv2d_input_grad, (dy, w, x_shape)),
            (kernels.conv2d_weight_grad, reference.conv2d_weight_grad, (dy, x, w_shape)),
        ):
            np.testing.assert_allclose(
                call(*arguments, **options), exact(*arguments, **options), rtol=1e-4, atol=1e-4, err_msg=call.__name__
            )
        spoilt[0, 0, 0, 0] = kept


def test_overflow_is_infinity_whatever_numpy_is_told(path):
    """16-bit results round to infinity, also where the caller has NumPy raise; so do sums that overflow in float32."""
    half, single = np.full((2, 3, 40, 40), 60000, np.float16), np.full((2, 3, 4, 4), 3e38, np.float32)
    weights, rows = np.full((3, 3, 3, 3), 60000, np.float16), np.full((70, 70), 60000, np.float16)
    with np.errstate(all="raise"):
        y = kernels.conv2d(half, weights, padding=1)
        found = [
            y,
            kernels.conv2d_input_grad(y, weights, half.shape, padding=1),
            kernels.conv2d_weight_grad(half, half, weights.shape, padding=1),
            kernels.conv2d_bias_grad(half),
            kernels.conv2d_bias_grad(single),
            kernels.avg_pool2d(half, 2, divisor_override=1),
            kernels.avg_pool2d(single, 2),
            kernels.linear(rows, rows),
            kernels.linear(single[0, 0], single[0, 0]),
            kernels.linear_bias_grad(rows),
            kernels.linear_bias_grad(single[0, 0], batch_axis=1),
        ]
        tiny = np.full((2, 3), 1e-30, np.float32)
        assert not kernels.linear(tiny, tiny).any()
    for result in found:
        assert np.isposinf(result).all()
