"""Windows along an axis, against all (window, tap) pairs counted one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backstride.kernels.axis import Axis
from backstride.kernels.conv.geometry import ConvGeometry
from backstride.kernels.pool.geometry import AvgPoolGeometry, PoolGeometry

AXES = st.builds(
    Axis,
    extent=st.integers(1, 24),
    taps=st.integers(1, 6),
    windows=st.integers(1, 9),
    stride=st.integers(1, 8),
    before=st.integers(-4, 12),
    after=st.integers(-4, 12),
    dilation=st.integers(1, 7),
)
SPANS = st.tuples(st.integers(-3, 30), st.integers(1, 9)).map(lambda span: (span[0], span[0] + span[1]))


def pairs(axis: Axis) -> dict[tuple[int, int], int]:
    """Where each tap of each window stands, walked to step by step."""
    found, start = {}, -axis.before
    for window in range(axis.windows):
        position = start
        for tap in range(axis.taps):
            found[window, tap] = position
            position += axis.dilation
        start += axis.stride
    return found


def of_window(axis: Axis, window: int) -> list[int]:
    return [position for (p, _), position in pairs(axis).items() if p == window]


@given(AXES)
def test_positions(axis):
    assert {pair: axis.position(*pair) for pair in pairs(axis)} == pairs(axis)
    assert axis.reach == max(of_window(axis, 0)) - min(of_window(axis, 0))
    for windows in range(1, axis.windows + 1):
        positions = [position for (p, _), position in pairs(axis).items() if p < windows]
        assert axis.span(windows) == max(positions) - min(positions) + 1


def test_positions_of_arrays():
    axis = Axis(10, 3, 4, stride=2, before=1, dilation=3)
    np.testing.assert_array_equal(axis.position(np.arange(4), 1), [2, 4, 6, 8])


@given(AXES)
def test_taps_and_windows_inside(axis):
    inside = {pair for pair, position in pairs(axis).items() if 0 <= position < axis.extent}
    assert {(p, r) for p in range(axis.windows) for r in range(*axis.taps_inside(p))} == inside
    assert {(p, r) for r in range(axis.taps) for p in range(*axis.windows_inside(r))} == inside
    for low, high in map(axis.taps_inside, range(axis.windows)):
        assert 0 <= low <= high <= axis.taps
    for low, high in map(axis.windows_inside, range(axis.taps)):
        assert 0 <= low <= high <= axis.windows


@given(AXES, SPANS)
def test_windows_over_positions(axis, span):
    a, b = span
    over = [p for p in range(axis.windows) if min(of_window(axis, p)) < b and max(of_window(axis, p)) >= a]
    low, high = axis.windows_over(a, b)
    assert list(range(low, high)) == over
    assert 0 <= low <= high <= axis.windows


@given(AXES, st.data())
def test_positions_under_windows(axis, data):
    p0 = data.draw(st.integers(0, axis.windows - 1))
    p1 = data.draw(st.integers(p0 + 1, axis.windows))
    under = [position for (p, _), position in pairs(axis).items() if p0 <= p < p1]
    low, high = axis.positions_under(p0, p1)
    assert list(range(low, high)) == [h for h in range(axis.extent) if min(under) <= h <= max(under)]
    assert 0 <= low <= high <= axis.extent


@given(AXES)
def test_what_windows_reach(axis):
    positions = pairs(axis).values()
    assert axis.reaches_outside == any(not 0 <= position < axis.extent for position in positions)
    if axis.windows > 1:
        assert axis.overlapping == (max(of_window(axis, 0)) >= min(of_window(axis, 1)))


@given(AXES)
def test_padding_made_part_of_the_input(axis):
    assert pairs(axis.padded) == {pair: axis.before + position for pair, position in pairs(axis).items()}
    assert axis.unread == axis.extent + axis.after - 1 - max(of_window(axis, axis.windows - 1))


@example(Axis(13, 3, 5, stride=4, before=2, after=2, dilation=6))  # gcd 2: classes of odd first have no tap
@example(Axis(4, 2, 1, stride=7))  # fewer positions than the stride
@given(AXES)
def test_classes_have_every_pair_once(axis):
    """A class's windows are its positions, and what they see are the windows that reach them: none else, none twice."""
    classes = list(axis.classes())
    positions = [h for c in classes for h in range(c.first, axis.extent, axis.stride)]
    assert sorted(positions) == list(range(axis.extent))
    assert len(classes) == axis.class_count
    assert axis.class_positions == max(c.gradient.windows for c in classes) == classes[0].gradient.windows
    reached: dict[int, list[tuple[int, int]]] = {h: [] for h in range(axis.extent)}
    for pair, position in pairs(axis).items():
        if position in reached:
            reached[position].append(pair)
    for c in classes:
        turned = range(axis.taps)[c.tap :: c.step][::-1]
        gradient = c.gradient
        assert (gradient.extent, gradient.stride, gradient.taps) == (axis.windows, 1, len(turned))
        assert gradient.unread == 0
        for number, h in enumerate(range(c.first, axis.extent, axis.stride)):
            seen = [(gradient.position(number, tap), r) for tap, r in enumerate(turned)]
            assert sorted((p, r) for p, r in seen if 0 <= p < axis.windows) == sorted(reached[h])


@given(AXES)
def test_inverse_of_the_dilation(axis):
    assert axis.gcd == math.gcd(axis.dilation, axis.stride)
    modulus = axis.stride // axis.gcd
    assert 0 <= axis.inverse < modulus
    assert axis.dilation // axis.gcd * axis.inverse % modulus == 1 % modulus


@given(AXES.map(lambda axis: Axis(axis.extent, axis.taps, axis.windows, 1, axis.before, axis.after, axis.dilation)))
def test_without_stride_there_is_one_class(axis):
    (only,) = axis.classes()
    assert (only.first, only.tap, only.step, only.gradient.taps) == (0, 0, 1, axis.taps)


# Options of one axis: (extent, taps, stride, (before, after), dilation).
ONE = st.tuples(
    st.integers(12, 20), st.integers(1, 4), st.integers(1, 4), st.tuples(*[st.integers(0, 3)] * 2), st.integers(1, 3)
)


@given(st.lists(ONE, min_size=1, max_size=3))
def test_each_axis_of_several_is_as_it_is_alone(given_axes):
    def geometry(axes):
        extents, taps, stride, padding, dilation = (tuple(each) for each in zip(*axes, strict=True))
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": 2}
        return ConvGeometry.of("c", (2, 4, *extents), (6, 2, *taps), **options, rank=len(axes))

    g = geometry(given_axes)
    assert g.axes == tuple(geometry([each]).axes[0] for each in given_axes)
    windows = tuple(axis.windows for axis in g.axes)
    assert g.x_shape == (2, 4, *(each[0] for each in given_axes))
    assert g.w_shape == (6, 2, *(each[1] for each in given_axes))
    assert (g.y_shape, g.b_shape) == ((2, 6, *windows), (6, *[1] * len(windows)))
    assert g.flops == 2 * math.prod(g.y_shape) * 2 * math.prod(each[1] for each in given_axes)


@given(st.lists(ONE, min_size=1, max_size=3), st.data())
def test_a_transposed_convolution_has_the_axes_of_its_convolution(given_axes, data):
    extents, taps, stride, padding, dilation = (tuple(each) for each in zip(*given_axes, strict=True))
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": 1, "rank": len(given_axes)}
    g = ConvGeometry.of("c", (2, 3, *extents), (5, 3, *taps), **options)
    transposed = ConvGeometry.of_transposed("c", g.y_shape, g.w_shape, output_padding=g.output_padding, **options)
    assert transposed == g


def test_ranks():
    line = PoolGeometry.of("p", (2, 3, 9), 3, padding=1, rank=1)
    volume = PoolGeometry.of("p", (2, 3, 9, 8, 7), (3, 2, 1), stride=(2, 1, 3), rank=3)
    assert (line.x_shape, line.y_shape, line.tap_dtype) == ((2, 3, 9), (2, 3, 3), np.uint8)
    assert (volume.x_shape, volume.y_shape) == ((2, 3, 9, 8, 7), (2, 3, 4, 7, 3))
    average = AvgPoolGeometry.of_average("p", (1, 1, 5), 3, stride=2, padding=1, count_include_pad=False, rank=1)
    assert [counts.tolist() for counts in average.counts()] == [[2, 3, 2]]
    assert ConvGeometry.of_output("c", (2, 3, 4, 5, 6), rank=3).x_shape == (2, 3, 4, 5, 6)
    same = ConvGeometry.of("c", (1, 1, 9), (1, 1, 4), stride=2, padding="same", dilation=1, groups=1, rank=1)
    assert same.padding == ((1, 2),)


@pytest.mark.parametrize(
    ("rank", "option", "value", "message"),
    [
        (1, "stride", (1, 2), "stride is (1, 2); expected an int or a (w,) tuple"),
        (3, "dilation", (1, 2), "dilation is (1, 2); expected an int or a (d, h, w) tuple"),
        (3, "stride", (1, 2, 0), "stride[2] is 0; expected an int >= 1"),
        (1, "padding", (1, 2), "padding is (1, 2); expected an int, a (w,) tuple or ((left, right),)"),
        (1, "padding", ((1, 2, 3),), "padding[0] is (1, 2, 3); expected a (before, after) pair"),
        (
            3,
            "padding",
            ((1, 1), (1, 1)),
            "expected an int, a (d, h, w) tuple or ((front, back), (top, bottom), (left, right))",
        ),
        (3, "padding", "full", "((front, back), (top, bottom), (left, right)), 'valid' or 'same'"),
        (3, "dilation", (9, 1, 1), "the window's depth (dilation*(kernel_size-1)+1) is 10; expected at most"),
        (1, "dilation", 9, "the window's width (dilation*(kernel_size-1)+1) is 10; expected at most"),
    ],
)
def test_errors_name_the_axes(rank, option, value, message):
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, option: value}
    with pytest.raises(ValueError, match="expected") as error:
        ConvGeometry.of("c", (1, 1, *[8] * rank), (1, 1, *[2] * rank), **options, rank=rank)
    assert message in str(error.value)


@pytest.mark.parametrize(("rank", "axes"), [(1, "three axes (N, C, W)"), (3, "five axes (N, C, D, H, W)")])
def test_errors_count_the_axes(rank, axes):
    with pytest.raises(ValueError, match="axes") as error:
        PoolGeometry.of("p", (1, 1, 8, 8), 2, rank=rank)
    assert axes in str(error.value)
