"""The kernel that gives dx, dw and db of a tiny layer at once: where it runs, and what only it can get wrong. Its
accuracy on the awkward shapes is tested with the other gradients' (test_conv2d.py, test_linear.py)."""

from __future__ import annotations

from typing import Any

import emulator
import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_exact, dtype_of, integers
from cupys import emulated

from backstride import kernels, layers
from backstride.kernels.conv import tiny
from backstride.kernels.conv.geometry import ConvGeometry

# x, w and options of sums that 4 lanes share, a warp, and a block
CONVOLUTIONS = {
    "4 lanes": ((2, 4, 7, 6), (6, 2, 3, 2), {"stride": 2, "padding": ((0, 1), (2, 0)), "groups": 2}),
    "a warp": ((3, 3, 9, 8), (4, 3, 3, 3), {"padding": 1}),
    "a block": ((10, 3, 29, 28), (2, 3, 3, 2), {"stride": 2}),
}


@pytest.fixture
def cupy(monkeypatch):
    with emulated(monkeypatch) as module:
        yield module


def arrays_of(rng, x: Any, w: Any, options: dict[str, Any], dtype: str = "float32") -> list[np.ndarray]:
    """dy, x and w of small integers, so that sums are exact whatever their order."""
    g = ConvGeometry.of("conv2d_grads", x, w, **{"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **options})
    return [integers(rng, shape).astype(dtype_of(dtype)) for shape in (g.y_shape, g.x_shape, g.w_shape)]


def names(launches: list[emulator.Launch]) -> list[str]:
    return [launch.name for launch in launches]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lanes", CONVOLUTIONS)
def test_one_launch_gives_what_three_operations_give(cupy, rng, lanes, dtype):
    *shapes, options = CONVOLUTIONS[lanes]
    arrays = arrays_of(rng, *shapes, options, dtype)
    dy, x, w = map(cupy.asarray, arrays)
    for _ in range(2):  # as at first, and by the kept launch
        with emulator.record_launches() as launches:
            dx, dw, db = kernels.conv2d_grads(dy, x, w, **options)
        assert names(launches) == ["tiny_grads"]
        np.testing.assert_array_equal(dx.get(), kernels.conv2d_input_grad(dy, w, x.shape, **options).get())
        np.testing.assert_array_equal(dw.get(), kernels.conv2d_weight_grad(dy, x, w.shape, **options).get())
        np.testing.assert_array_equal(db.get(), kernels.conv2d_bias_grad(dy).get(), strict=True)


@pytest.mark.parametrize("batch_axis", [0, 1])
@pytest.mark.parametrize("samples", [9, 130, 600])
def test_one_launch_for_a_linear_layer(cupy, rng, samples, batch_axis):
    arrays = [integers(rng, shape).astype("f4") for shape in ((samples, 5), (samples, 7))]
    dy, x = (cupy.asarray(a if batch_axis == 0 else np.ascontiguousarray(a.T)) for a in arrays)
    w = cupy.asarray(integers(rng, (5, 7)).astype("f4"))
    with emulator.record_launches() as launches:
        dx, dw, db = kernels.linear_grads(dy, x, w, batch_axis=batch_axis)
    assert names(launches) == ["tiny_grads"]
    np.testing.assert_array_equal(dx.get(), kernels.linear_input_grad(dy, w, batch_axis=batch_axis).get())
    np.testing.assert_array_equal(dw.get(), kernels.linear_weight_grad(dy, x, batch_axis=batch_axis).get())
    np.testing.assert_array_equal(db.get(), kernels.linear_bias_grad(dy, batch_axis=batch_axis).get(), strict=True)


def test_what_is_not_tiny_runs_as_before(cupy, rng):
    dy, x, w = map(cupy.asarray, arrays_of(rng, (2, 16, 24, 24), (16, 16, 3, 3), {}))
    with emulator.record_launches() as launches:
        dx, dw, db = kernels.conv2d_grads(dy, x, w)
    assert "tiny_grads" not in names(launches)
    assert {"conv_input_grad", "conv_halo"} & set(names(launches)), "whichever the model chooses for dx"
    exact = [a.get().astype("f8") for a in (dy, x, w)]
    assert_exact(dx.get(), reference.conv2d_input_grad(exact[0], exact[2], x.shape))
    assert_exact(dw.get(), reference.conv2d_weight_grad(exact[0], exact[1], w.shape))
    assert_exact(db.get(), reference.conv2d_bias_grad(exact[0]))
    dy, x, w = (cupy.asarray(integers(rng, shape).astype("f4")) for shape in ((64, 130), (64, 140), (130, 140)))
    with emulator.record_launches() as launches:
        kernels.linear_grads(dy, x, w)
    assert set(names(launches)) <= {"linear", "split_sum"}


@pytest.mark.parametrize(
    ("x", "w", "options"),
    [
        ((1, 1, 1449, 1449), (1, 1, 1, 1), {"stride": 1449}),  # much to write
        ((0, 1500, 1, 1), (1500, 1500, 1, 1), {}),  # the same, of dw
        ((4, 0, 1024, 1024), (1, 0, 1, 1), {}),  # much to read
        ((1, 1, 600, 600), (1, 1, 3, 3), {"stride": 600}),  # many taps to try
    ],
    ids=["large-x", "large-w", "large-y", "taps"],
)
def test_few_operations_on_many_elements_are_not_tiny(x, w, options):
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **options}
    g = ConvGeometry.of("conv2d_grads", x, w, **options)
    assert g.flops <= tiny.LIMIT
    assert not tiny.applies(g)


def test_the_same_bits_every_time(cupy, rng):
    *shapes, options = CONVOLUTIONS["a block"]
    arrays = [cupy.asarray(rng.standard_normal(a.shape).astype("f4")) for a in arrays_of(rng, *shapes, options)]
    first, second = (kernels.conv2d_grads(*arrays, **options) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.get(), b.get())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bit_sums_are_rounded_once(cupy, dtype):
    """3000 ones: an accumulator of 8 or 11 bits would stop growing at 256 or 2048."""
    ones = [cupy.asarray(np.ones(shape, dtype_of(dtype))) for shape in ((3, 1, 40, 25), (3, 1, 40, 25), (1, 1, 1, 1))]
    _, dw, db = kernels.conv2d_grads(*ones)
    assert dw.get().item() == db.get().item() == dtype_of(dtype).type(3000)


def test_inputs_that_no_tap_reaches_get_zero(cupy, rng):
    """At stride 4 and dilation 6 most residue classes have no taps; infinite weights must not spoil them."""
    options = {"stride": 4, "padding": 2, "dilation": 6}
    dy, x, _ = arrays_of(rng, (2, 3, 15, 14), (4, 3, 3, 3), options)
    w = np.full((4, 3, 3, 3), np.inf, "f4")
    reached = kernels.conv2d_input_grad(np.ones_like(dy), np.ones_like(w), x.shape, **options) != 0
    dx, _, _ = kernels.conv2d_grads(*map(cupy.asarray, (np.ones_like(dy), x, w)), **options)
    np.testing.assert_array_equal(dx.get(), np.where(reached, np.inf, 0))
    assert not reached.all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_values_reach_what_they_belong_to(cupy, rng, value):
    """In the corner of dy, which only the taps beside the padding see: padding is not multiplied."""
    x, w = (np.abs(rng.standard_normal(s).astype("f4")) + 1 for s in ((2, 3, 6, 6), (4, 3, 3, 3)))
    dy = np.ones((2, 4, 6, 6), "f4")
    dy[1, 2, 0, 0] = value
    dx, dw, db = (a.get() for a in kernels.conv2d_grads(*map(cupy.asarray, (dy, x, w)), padding=1))
    np.testing.assert_array_equal(db[2].item(), value)
    np.testing.assert_array_equal(dw[2, :, 1:, 1:], np.full((3, 2, 2), value, "f4"))
    np.testing.assert_array_equal(dx[1, :, :2, :2], np.full((3, 2, 2), value, "f4"))
    dw[2, :, 1:, 1:], dx[1, :, :2, :2], db[2] = 0, 0, 0
    assert all(np.isfinite(a).all() for a in (dx, dw, db))


@pytest.mark.parametrize("needs_input_grad", [True, False])
def test_layers_ask_for_all_gradients_at_once(cupy, rng, needs_input_grad):
    """Beside it only additions to the gradients, which are CuPy's; the first layer of a network needs no dx."""
    x = cupy.asarray(integers(rng, (2, 2, 6, 5)).astype("f4"))
    for layer, shown in (
        (layers.Conv2d(2, 3, 3, rng=0), "conv_weight_grad"),
        (layers.Linear(60, 4, rng=0), "linear"),
        (layers.Linear(60, 4, batch_axis=1, rng=0), "linear"),
    ):
        y = layer(x)
        with emulator.record_launches() as launches:
            dx = layer.backward(y, needs_input_grad=needs_input_grad)
        assert names(launches)[:1] == (["tiny_grads"] if needs_input_grad else [shown])
        assert (dx is not None) == needs_input_grad
        assert dx is None or dx.shape == x.shape


def test_an_empty_batch_gives_zeros(cupy):
    dy, x, w = (cupy.asarray(np.ones(shape, "f4")) for shape in ((0, 4, 3, 3), (0, 2, 5, 5), (4, 2, 3, 3)))
    dx, dw, db = kernels.conv2d_grads(dy, x, w)
    assert dx.shape == x.shape
    assert_exact(dw.get(), np.zeros((4, 2, 3, 3)))
    assert_exact(db.get(), np.zeros((4, 1, 1)))
