"""How the window kernels cut their work: pure functions, and in the emulator what small shapes never reach."""

from __future__ import annotations

from collections.abc import Iterator

import emulator
import numpy as np
import pytest
import reference
from accuracy import assert_exact, integers
from hypothesis import given
from hypothesis import strategies as st

from backstride import kernels
from backstride.kernels.cuda import arrays, direct, few_channels, windows
from backstride.kernels.geometry import Conv2dGeometry, Pool2dGeometry


@st.composite
def geometries(draw: st.DrawFn) -> Pool2dGeometry:
    kernel, stride, dilation = ((draw(st.integers(1, top)), draw(st.integers(1, top))) for top in (9, 6, 3))
    reach = [dilation[axis] * (kernel[axis] - 1) for axis in (0, 1)]
    padding = tuple((draw(st.integers(0, r)), draw(st.integers(0, r))) for r in reach)
    height, width = (draw(st.integers(reach[axis] + 1, reach[axis] + 70)) for axis in (0, 1))
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 2000)), height, width)
    return Pool2dGeometry.of("p", shape, kernel, stride=stride, padding=padding, dilation=dilation)


@given(geometries(), st.sampled_from([2, 4, 8]))
def test_vectors_are_aligned_and_divide_the_rows(g, itemsize):
    """A thread's vectors are aligned where its tile starts, and none straddles a row's end."""
    outputs, inputs = windows.outputs_tiling(g, itemsize, 8), windows.inputs_tiling(g, itemsize, 8)
    for tiling in (outputs, inputs):
        assert g.W % tiling.vec_x == 0
        assert g.Q % tiling.vec_y == 0
        assert max(tiling.vec_x, tiling.vec_y) * itemsize <= arrays.ALIGNMENT
    assert outputs.tile_w % outputs.vec_y == 0
    assert outputs.tile_w * g.stride[1] % outputs.vec_x == 0
    assert inputs.tile_w % inputs.vec_x == 0
    if inputs.unrolled:
        assert inputs.tile_h % g.stride[0] == inputs.tile_w % g.stride[1] == 0
        assert inputs.tile_w // g.stride[1] % inputs.vec_y == 0


@given(geometries(), st.integers(1, 8))
def test_tiles_cover_the_plane(g, planes):
    for tiling, extents in (
        (windows.outputs_tiling(g, 4, 8), (g.P, g.Q)),
        (windows.inputs_tiling(g, 4, 8), (g.H, g.W)),
    ):
        values = tiling.values(planes, extents)
        rows, columns = values["tile_rows"][0], values["tile_columns"][0]
        assert values["tiles"] == planes * rows * columns
        assert (rows - 1) * tiling.tile_h < extents[0] <= rows * tiling.tile_h
        assert (columns - 1) * tiling.tile_w < extents[1] <= columns * tiling.tile_w
        assert tiling.blocks(values["tiles"]) * windows.THREADS >= values["tiles"] * tiling.lanes


@given(st.integers(0, 10**7), st.sampled_from([1, 4, 32, 128]), st.integers(1, 10**4), st.integers(1, 50))
def test_a_split_sum_has_every_term_once(terms, threads, sums, taps):
    split = direct.Split.of(terms, threads, sums, sums * taps)
    assert split.parts >= 1
    assert split.parts * split.size >= terms > (split.parts - 1) * split.size - 1
    assert split.parts == 1 or split.parts * sums * taps * 8 <= 64 * 2**20


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_few_channels_fit_shared_memory(dtype):
    for k, r, stride in [(64, 7, 2), (64, 3, 1), (2, 3, 2), (96, 11, 4), (6, 5, 1), (33, 1, 1)]:
        g = Conv2dGeometry.of(
            "c", (1, 3, 64, 61), (k, 3, r, r), stride=stride, padding=r // 2, dilation=1, groups=1
        )
        c = few_channels.choose(g, np.dtype(dtype))
        if c is not None:
            assert c.shared_bytes <= few_channels.SHARED_BYTES
            assert 32 <= c.threads <= few_channels.MAX_THREADS
            assert c.filter_lanes * c.filters * c.filter_blocks >= k


def test_chunks_are_whole_and_small_enough():
    assert list(arrays.chunks(0, 5)) == []
    assert list(arrays.chunks(3, arrays.MAX_INDEX)) == [(0, 1), (1, 1), (2, 1)]
    assert list(arrays.chunks(7, arrays.MAX_INDEX // 3)) == [(0, 3), (3, 3), (6, 1)]


def test_a_plane_beyond_32_bits_is_refused():
    g = Pool2dGeometry.of("p", (1, 1, 2**16, 2**15), 2)
    with pytest.raises(ValueError, match="CUDA path: the plane is 65536x32768"):
        windows.outputs_tiling(g, 4, 8)


# --- tiles of several rows, and launches in several chunks, which only large arrays get -----------------------
@pytest.fixture
def cut_small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiles are as tall, and chunks as few planes, as if the arrays were huge."""
    functions = (windows.outputs_tiling, windows.inputs_tiling)
    for function in functions:
        function.cache_clear()
    monkeypatch.setattr(windows, "ENOUGH_THREADS", 1)
    monkeypatch.setattr(arrays, "MAX_INDEX", 1000)
    with emulator.installed():
        yield
    for function in functions:
        function.cache_clear()


POOLS = [
    ((2, 3, 12, 16), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((2, 3, 13, 16), {"kernel_size": 3, "stride": 1, "padding": 1}),
    ((2, 3, 15, 12), {"kernel_size": 2}),
    ((2, 3, 11, 9), {"kernel_size": 2, "stride": 3, "ceil_mode": True}),
    ((1, 3, 10, 16), {"kernel_size": (3, 2), "stride": (1, 2), "padding": ((2, 1), (1, 0))}),
    ((2, 2, 14, 14), {"kernel_size": 7}),
]


@pytest.mark.parametrize(("shape", "options"), POOLS)
@pytest.mark.usefixtures("cut_small")
def test_pooling_in_tall_tiles(shape, options, rng):
    import cupy

    dtype = np.float16  # the widest vectors

    x = integers(rng, shape)
    y, taps = kernels.max_pool2d(cupy.asarray(x.astype(dtype)), **options)
    exact_y, exact_taps = reference.max_pool2d(x, **options)
    assert_exact(y.get(), exact_y)
    np.testing.assert_array_equal(taps.get(), exact_taps)

    dy = integers(rng, y.shape)
    dx = kernels.max_pool2d_grad(cupy.asarray(dy.astype(dtype)), taps, shape, **options)
    assert_exact(dx.get(), reference.max_pool2d_grad(dy, exact_taps, shape, **options))

    halves = {**options, "divisor_override": 2}  # so that the average is exact
    assert_exact(kernels.avg_pool2d(cupy.asarray(x.astype(dtype)), **halves).get(), reference.avg_pool2d(x, **halves))
    dx = kernels.avg_pool2d_grad(cupy.asarray(dy.astype(dtype)), shape, **halves)
    assert_exact(dx.get(), reference.avg_pool2d_grad(dy, shape, **halves))


DEPTHWISE = [
    ((2, 3, 13, 16), (3, 1, 3, 3), {"padding": 1}),
    ((2, 3, 12, 16), (3, 1, 3, 3), {"padding": 1, "stride": 2}),
    ((2, 3, 11, 9), (6, 1, 3, 2), {"padding": ((1, 0), (0, 2)), "stride": 2}),
    ((1, 2, 16, 16), (2, 1, 5, 5), {"padding": 4, "dilation": 2}),
    ((2, 2, 9, 10), (2, 1, 9, 8), {"padding": 4}),
]


@pytest.mark.parametrize(("shape", "w_shape", "options"), DEPTHWISE)
@pytest.mark.usefixtures("cut_small")
def test_depthwise_in_tall_tiles(shape, w_shape, options, rng):
    import cupy

    options = {**options, "groups": shape[1]}
    x, w = integers(rng, shape), integers(rng, w_shape)
    exact = reference.conv2d(x, w, **options)
    dy = integers(rng, exact.shape)
    on_device = {name: cupy.asarray(a.astype(np.float32)) for name, a in (("x", x), ("w", w), ("dy", dy))}
    assert_exact(kernels.conv2d(on_device["x"], on_device["w"], **options).get(), exact)
    dx = kernels.conv2d_input_grad(on_device["dy"], on_device["w"], shape, **options)
    assert_exact(dx.get(), reference.conv2d_input_grad(dy, w, shape, **options))
    dw = kernels.conv2d_weight_grad(on_device["dy"], on_device["x"], w_shape, **options)
    assert_exact(dw.get(), reference.conv2d_weight_grad(dy, x, w_shape, **options))
