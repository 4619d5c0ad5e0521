"""Output sizes and padding, tested by the property they must have and never by a formula."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import reference
from hypothesis import example, given
from hypothesis import strategies as st

from backstride import kernels
from backstride.kernels.conv.geometry import ConvGeometry
from backstride.kernels.pool.geometry import AvgPoolGeometry, PoolGeometry


def pairs(values):
    return st.tuples(values, values)


def paddings(largest):
    return pairs(pairs(st.integers(0, largest))) | st.sampled_from(["valid", "same"])


SMALL = st.integers(1, 7)
PADDING = paddings(8)
SLACK = st.integers(0, 20)
"""By how much an input is larger than the smallest that a window fits into; negative: it need not fit."""


def last_tap(position, stride, before, taps, dilation):
    return position * stride - before + (taps - 1) * dilation


def extents(draw, slack, kernel, dilation, padding):
    """(H, W), each `slack` over the smallest for this window and this padding."""
    sides = {"valid": ((0, 0), (0, 0)), "same": ((99, 99), (99, 99))}.get(str(padding), padding)
    smallest = [d * (k - 1) + 1 - sum(side) for k, d, side in zip(kernel, dilation, sides, strict=True)]
    return tuple(max(1, least + draw(slack)) for least in smallest)


@st.composite
def conv_shapes(draw, slack=SLACK, padding=PADDING):
    """(x_shape, w_shape, options) of a convolution."""
    groups = draw(st.integers(1, 3))
    c, k = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
    kernel = draw(pairs(SMALL))
    options = {"stride": draw(pairs(SMALL)), "padding": draw(padding), "dilation": draw(pairs(SMALL)), "groups": groups}
    height, width = extents(draw, slack, kernel, options["dilation"], options["padding"])
    return (draw(st.integers(0, 3)), c, height, width), (k, c // groups, *kernel), options


@st.composite
def pool_shapes(draw, slack=SLACK, dilations=SMALL):
    """(x_shape, kernel_size, options) of a pooling."""
    kernel, dilation = draw(pairs(SMALL)), draw(pairs(dilations))
    limits = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    padding = tuple(tuple(draw(st.integers(0, limit)) for _ in range(2)) for limit in limits)
    options = {
        "stride": draw(st.none() | pairs(SMALL)),
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": draw(st.booleans()),
    }
    x_shape = draw(st.integers(0, 2)), draw(st.integers(1, 2)), *extents(draw, slack, kernel, dilation, padding)
    return x_shape, kernel, options


@given(conv_shapes(st.integers(-4, 20)))
def test_last_window_fits_and_one_more_would_not(problem):
    x_shape, w_shape, options = problem
    try:
        g = ConvGeometry.of("conv2d", x_shape, w_shape, **options)
    except ValueError:
        assert options["padding"] != "same", "some window always fits with 'same'"
        sides = ((0, 0), (0, 0)) if options["padding"] == "valid" else options["padding"]
        ends = [last_tap(0, options["stride"][a], sides[a][0], w_shape[2 + a], options["dilation"][a]) for a in (0, 1)]
        assert any(ends[a] >= x_shape[2 + a] + sides[a][1] for a in (0, 1)), "the first window fits, yet was refused"
        return
    for axis, (windows, taps, extent) in enumerate(((g.P, g.R, g.H), (g.Q, g.S, g.W))):
        before, after = g.padding[axis]
        assert windows >= 1
        assert last_tap(windows - 1, g.stride[axis], before, taps, g.dilation[axis]) < extent + after
        assert last_tap(windows, g.stride[axis], before, taps, g.dilation[axis]) >= extent + after


@given(conv_shapes(padding=st.just("same")))
def test_same_keeps_ceil_of_extent_over_stride_with_the_odd_element_last(problem):
    x_shape, w_shape, options = problem
    g = ConvGeometry.of("conv2d", x_shape, w_shape, **options)
    for axis, (windows, taps, extent) in enumerate(((g.P, g.R, g.H), (g.Q, g.S, g.W))):
        before, after = g.padding[axis]
        assert (windows - 1) * g.stride[axis] < extent <= windows * g.stride[axis]
        assert after - before in (0, 1)
        if before + after:  # no less padding would do
            assert last_tap(windows - 1, g.stride[axis], before, taps, g.dilation[axis]) == extent + after - 1


@example(((1, 1, 2, 2), (1, 1), {"stride": (2, 2), "padding": ((0, 0),) * 2, "dilation": (1, 1), "ceil_mode": True}))
@example(((1, 1, 2, 2), (3, 3), {"stride": (3, 3), "padding": ((1, 1),) * 2, "dilation": (1, 1), "ceil_mode": True}))
@given(pool_shapes(st.integers(-4, 20)))
def test_pool_size(problem):
    """Without ceil_mode as a convolution. With it a window may overhang the end by less than one stride, provided
    that it starts on the input or on the padding before it; the count is the greatest for which all windows do."""
    x_shape, kernel, options = problem
    stride = options["stride"] or kernel

    def belongs(position, axis):
        before, after = options["padding"][axis]
        first = position * stride[axis] - before
        last = last_tap(position, stride[axis], before, kernel[axis], options["dilation"][axis])
        overhang = last - (x_shape[2 + axis] + after - 1)
        if not options["ceil_mode"]:
            return overhang <= 0
        return overhang < stride[axis] and first < x_shape[2 + axis]

    if not (belongs(0, 0) and belongs(0, 1)):
        with pytest.raises(ValueError, match="window"):
            PoolGeometry.of("max_pool2d", x_shape, kernel, **options)
        return
    g = PoolGeometry.of("max_pool2d", x_shape, kernel, **options)
    for axis, windows in enumerate((g.P, g.Q)):
        assert belongs(windows - 1, axis)
        assert not belongs(windows, axis)


@given(pool_shapes(dilations=st.just(1)), st.booleans())
def test_average_divides_by_the_elements_it_counts(problem, count_include_pad):
    """The divisor of the window at (p, q) is the number of its taps on the (padded) input, counted one by one."""
    x_shape, kernel, options = problem
    g = AvgPoolGeometry.of_average("avg_pool2d", x_shape, kernel, count_include_pad=count_include_pad, **options)
    rows, columns = g.counts()
    for axis, (counts, windows) in enumerate(((rows, g.P), (columns, g.Q))):
        before, after = g.padding[axis] if count_include_pad else (0, 0)
        counted = range(-before, x_shape[2 + axis] + after)
        for position in range(windows):
            start = position * g.stride[axis] - g.padding[axis][0]
            assert counts[position] == sum(start + tap in counted for tap in range(kernel[axis])) > 0


@given(conv_shapes(st.integers(0, 6), paddings(3)))
def test_random_convolutions_are_exact(problem):
    x_shape, w_shape, options = problem
    g = ConvGeometry.of("conv2d", x_shape, w_shape, **options)
    rng = np.random.default_rng(0)
    x, w, dy = (rng.integers(-8, 9, s).astype(np.float32) for s in (x_shape, w_shape, g.y_shape))
    np.testing.assert_array_equal(kernels.conv2d(x, w, **options), reference.conv2d(x, w, **options))
    np.testing.assert_array_equal(
        kernels.conv2d_input_grad(dy, w, x_shape, **options),
        reference.conv2d_input_grad(dy, w, x_shape, **options),
    )
    np.testing.assert_array_equal(
        kernels.conv2d_weight_grad(dy, x, w_shape, **options),
        reference.conv2d_weight_grad(dy, x, w_shape, **options),
    )


@given(pool_shapes(st.integers(0, 6)))
def test_random_max_pools_are_exact(problem):
    x_shape, kernel, options = problem
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, x_shape).astype(np.float32)
    y, taps = kernels.max_pool2d(x, kernel, **options)
    exact_y, exact_taps = reference.max_pool2d(x, kernel, **options)
    np.testing.assert_array_equal(y, exact_y)
    np.testing.assert_array_equal(np.where(taps == 255, -1, taps.astype(int)), exact_taps)
    dy = rng.integers(-8, 9, y.shape).astype(np.float32)
    np.testing.assert_array_equal(
        kernels.max_pool2d_grad(dy, taps, x_shape, kernel, **options),
        reference.max_pool2d_grad(dy, exact_taps, x_shape, kernel, **options),
    )


@pytest.mark.parametrize(
    ("padding", "resolved"),
    [
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, 2], ((1, 1), (2, 2))),
        (((1, 2), (3, 4)), ((1, 2), (3, 4))),
        ([[1, 2], [3, 4]], ((1, 2), (3, 4))),
        (np.int64(3), ((3, 3), (3, 3))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((1, 2), (0, 1))),
    ],
)
def test_forms_of_padding(padding, resolved):
    g = ConvGeometry.of("conv2d", (1, 1, 9, 9), (1, 1, 4, 2), stride=1, padding=padding, dilation=1, groups=1)
    assert g.padding == resolved


def test_geometry_is_frozen():
    g = PoolGeometry.of("max_pool2d", (1, 1, 4, 4), 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        g.P = 3
    assert hash(g) == hash(PoolGeometry.of("max_pool2d", (1, 1, 4, 4), (2, 2), stride=2))


def test_sizes_beyond_32_bits():
    """Extents are Python ints: nothing wraps around."""
    g = ConvGeometry.of("conv2d", (2**20, 2**12, 2**31, 1), (1, 2**12, 1, 1), stride=1, padding=0, dilation=1, groups=1)
    assert g.y_shape == (2**20, 1, 2**31, 1)
    assert g.flops == 2**64
