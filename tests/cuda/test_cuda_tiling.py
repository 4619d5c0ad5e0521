"""How the window kernels cut their work: pure functions, and in the emulator what small shapes never reach."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import emulator
import numpy as np
import pytest
import reference
from accuracy import assert_exact, integers
from hypothesis import given
from hypothesis import strategies as st

from backstride import kernels, use_float32_precision
from backstride.kernels.conv import cuda, direct, few_channels, few_channels_input_grad
from backstride.kernels.conv.cases import CONV
from backstride.kernels.conv.geometry import ConvGeometry
from backstride.kernels.cuda import windows
from backstride.kernels.cuda.gemm import cost
from backstride.kernels.cuda.offline import ptxas
from backstride.kernels.cuda.offline.dryrun import Device, DryArray, Launch, dry_run
from backstride.kernels.cuda.runtime import arrays
from backstride.kernels.pool.geometry import PoolGeometry


@st.composite
def geometries(draw: st.DrawFn) -> PoolGeometry:
    kernel, stride, dilation = ((draw(st.integers(1, top)), draw(st.integers(1, top))) for top in (9, 6, 3))
    reach = [dilation[axis] * (kernel[axis] - 1) for axis in (0, 1)]
    padding = tuple((draw(st.integers(0, r)), draw(st.integers(0, r))) for r in reach)
    height, width = (draw(st.integers(reach[axis] + 1, reach[axis] + 70)) for axis in (0, 1))
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 2000)), height, width)
    return PoolGeometry.of("p", shape, kernel, stride=stride, padding=padding, dilation=dilation)


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
        rows, columns = values["rows"][0], values["columns"][0]
        assert values["number"] == planes * rows * columns
        assert (rows - 1) * tiling.tile_h < extents[0] <= rows * tiling.tile_h
        assert (columns - 1) * tiling.tile_w < extents[1] <= columns * tiling.tile_w
        assert tiling.blocks(values["number"]) * windows.THREADS >= values["number"] * tiling.lanes


@given(geometries(), st.sampled_from([2, 4, 8]))
def test_shared_windows_are_whole_words(g, itemsize):
    tiling = windows.outputs_tiling(g, itemsize, 8)
    if not tiling.unrolled:
        assert tiling.lanes in (1, 2, 4, 8, 16, 32)
        starts = {q * g.stride[1] - g.padding[1][0] for q in range(g.Q)}
        assert all(start % tiling.vec_x == 0 for start in starts)
        assert g.S % tiling.vec_x == 0
        assert tiling.vec_x == 1 or g.dilation[1] == 1


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "lanes"),
    [
        ((128, 2048, 7, 7), 7, 7, 8),  # 49 words of one element: six or seven to a lane
        ((128, 256, 14, 14), 14, 14, 8),  # 49 words of four
        ((8, 16, 112, 112), 112, 112, 32),
        ((128, 64, 56, 56), 9, 1, 1),  # neighbours overlap, and there are enough of them
        ((1, 4, 56, 56), 9, 1, 16),
    ],
)
def test_threads_share_large_windows_that_do_not_overlap(shape, kernel, stride, lanes):
    g = windows.flattened(PoolGeometry.of("p", shape, kernel, stride=stride))
    tiling = windows.outputs_tiling(g, 4, 8)
    assert (tiling.unrolled, tiling.lanes) == (False, lanes)


def test_whole_planes_are_one_row_of_windows():
    g = windows.flattened(PoolGeometry.of("p", (3, 5, 7, 6), (7, 6)))
    assert (g.x_shape, g.y_shape, (g.R, g.S), g.stride) == ((1, 1, 1, 630), (1, 1, 1, 15), (1, 42), (1, 42))


@pytest.mark.parametrize(
    ("shape", "kernel", "options"),
    [
        ((3, 5, 7, 6), (7, 3), {}),  # two windows to a plane
        ((3, 5, 7, 6), (9, 6), {"padding": (1, 0)}),
        ((3, 5, 7, 6), (6, 6), {}),  # a row is left over
        ((0, 5, 7, 6), (7, 6), {}),
        ((2**11, 2**11, 32, 32), 32, {}),  # more elements than 32 bits count
    ],
)
def test_other_windows_stay_as_they_are(shape, kernel, options):
    g = PoolGeometry.of("p", shape, kernel, **options)
    assert windows.flattened(g) is g


@given(st.integers(0, 10**7), st.sampled_from([1, 4, 32, 128]), st.integers(1, 10**4), st.integers(1, 50))
def test_a_split_sum_has_every_term_once(terms, threads, sums, taps):
    split = direct.Split.of(terms, threads, sums, sums * taps)
    assert split.parts >= 1
    assert split.parts * split.size >= terms > (split.parts - 1) * split.size - 1
    assert split.parts == 1 or split.parts * sums * taps * 8 <= 64 * 2**20


# Channels, filters, window and stride; an odd and an even width.
FEW_CHANNELS = [
    ConvGeometry.of("c", (64, c, 64, width), (k, c, r, r), stride=stride, padding=r // 2, dilation=1, groups=1)
    for c, k, r, stride in [(3, 64, 7, 2), (3, 64, 3, 1), (1, 2, 3, 2), (3, 96, 11, 4), (2, 6, 5, 3), (4, 33, 1, 1)]
    for width in (61, 56)
]
FEW_CHANNEL_MODULES = [few_channels, few_channels_input_grad]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("module", FEW_CHANNEL_MODULES)
def test_few_channels_fit_shared_memory(module, dtype):
    for g in FEW_CHANNELS:
        c = module.choose(g, np.dtype(dtype))
        if c is not None:
            assert c.shared_bytes <= few_channels.SHARED_BYTES
            assert c.threads % 32 == 0
            assert 32 <= c.threads <= module.MAX_THREADS


def test_blocks_for_few_channels_cover_the_output():
    for g in FEW_CHANNELS:
        c = few_channels.choose(g, np.dtype(np.float32))
        assert c.filter_lanes * c.filters * c.filter_blocks >= g.K
        assert c.rows * c.tile_rows >= g.P > c.rows * (c.tile_rows - 1)
        assert c.columns * c.pixels * c.tile_columns >= g.Q > c.columns * c.pixels * (c.tile_columns - 1)
        c = few_channels_input_grad.choose(g, np.dtype(np.float32))
        rows = c.rows * c.tile_h * g.stride[0]
        assert rows * c.tile_rows >= g.H > rows * (c.tile_rows - 1)
        assert c.columns * c.tile_w * c.tile_columns >= g.W > c.columns * c.tile_w * (c.tile_columns - 1)


@pytest.mark.compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("operation", ["conv", "conv_input_grad"])
def test_the_compiler_finds_as_much_shared_memory_as_the_host(operation, dtype):
    module = {"conv": few_channels, "conv_input_grad": few_channels_input_grad}[operation]
    launches = {g: first_launch(operation, g, dtype) for g in FEW_CHANNELS}
    few = {g: launch for g, launch in launches.items() if launch.entry.startswith("few_channels")}
    assert len(few) > len(FEW_CHANNELS) // 2
    for g, launch in few.items():
        usage = ptxas.compiled(launch.text, 90)
        assert usage.static_shared_bytes == module.choose(g, np.dtype(dtype)).shared_bytes


def first_launch(operation: str, g: ConvGeometry, dtype: str, sm: int = 90) -> Launch:
    device = Device(sm, 132)
    x, w, y = (DryArray(shape, dtype, device) for shape in (g.x_shape, g.w_shape, g.y_shape))
    arguments = {"conv": (x, w, None, g), "conv_input_grad": (y, w, g)}[operation]
    return dry_run(getattr(cuda, operation), arguments, device).launches[0]


def chosen(operation: str, g: ConvGeometry, dtype: str, precision: str, sm: int = 90) -> str:
    """The kernel that the operation launches first."""
    with use_float32_precision(precision):
        return first_launch(operation, g, dtype, sm).entry


STEM = ConvGeometry.of("c", (128, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3, dilation=1, groups=1)
FIRST_3X3 = ConvGeometry.of("c", (128, 3, 224, 224), (64, 3, 3, 3), stride=1, padding=1, dilation=1, groups=1)


@pytest.mark.parametrize(
    ("g", "dtype", "precision", "sm", "kernel"),
    [
        (STEM, "float32", "ieee", 90, "few_channels"),
        (STEM, "float32", "auto", 120, "few_channels"),  # whose tensor cores gain float32 nothing
        (STEM, "float32", "tf32", 90, "conv_forward"),
        (STEM, "float16", "auto", 90, "conv_forward"),
        (FIRST_3X3, "float32", "auto", 90, "few_channels"),  # 27 taps fill a k-tile and a half
    ],
)
def test_few_channels_go_to_tensor_cores_only_where_those_are_faster(g, dtype, precision, sm, kernel):
    assert chosen("conv", g, dtype, precision, sm) == kernel


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("g", [STEM, FIRST_3X3], ids=["stem", "3x3"])
def test_the_input_gradient_of_few_channels_is_no_product_3_columns_wide(g, dtype):
    assert chosen("conv_input_grad", g, dtype, "auto") == "few_channels_input_grad"


def test_the_input_gradient_of_many_channels_is_a_product():
    many = dataclasses.replace(STEM, C=64)
    assert chosen("conv_input_grad", many, "float32", "ieee") == "pack_class_weights"  # of the product


@pytest.mark.parametrize("g", [*FEW_CHANNELS, STEM, FIRST_3X3], ids=str)
@pytest.mark.parametrize("operation", ["conv", "conv_input_grad"])
def test_the_kernel_of_ieee_does_not_depend_on_the_gpu(operation, g):
    assert len({chosen(operation, g, "float32", "ieee", sm) for sm in (75, 80, 90, 120)}) == 1


def test_chunks_are_whole_and_small_enough():
    assert list(arrays.chunks(0, 5)) == []
    assert list(arrays.chunks(3, arrays.MAX_INDEX)) == [(0, 1), (1, 1), (2, 1)]
    assert list(arrays.chunks(7, arrays.MAX_INDEX // 3)) == [(0, 3), (3, 3), (6, 1)]


def test_a_plane_beyond_32_bits_is_refused():
    g = PoolGeometry.of("p", (1, 1, 2**16, 2**15), 2)
    with pytest.raises(ValueError, match="CUDA path: a channel is 65536x32768"):
        windows.outputs_tiling(g, 4, 8)


@given(st.integers(1, 300), st.integers(-20, 20), st.integers(1, 40), st.sampled_from([2, 4]))
def test_words_of_a_piece(extent, first, count, quad):
    vec, reach = few_channels.words(extent, first, count, quad)
    assert extent % vec == 0
    assert first % vec + count <= reach < count + quad
    assert reach % quad == 0


SMALL = [c for c in CONV if 0 < c.w[1] <= few_channels.CHANNELS and 0 not in c.x and "depthwise" not in c.name]


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("direct", "dtype"), [(True, "float16"), (True, "float32"), (True, "float64"), (False, "float32")]
)
@pytest.mark.parametrize("case", SMALL, ids=str)
def test_few_channels_by_either_kernel(case, direct, dtype, rng, monkeypatch):
    """Whichever of the two is estimated to be faster."""
    monkeypatch.setattr(cost, "direct_seconds", lambda *_: 0.0 if direct else math.inf)
    x, w = integers(rng, case.x), integers(rng, case.w)
    exact = reference.conv2d(x, w, **case.options)
    dy = integers(rng, exact.shape)
    with emulator.installed() as cupy:
        on_device = [cupy.asarray(a.astype(dtype)) for a in (x, w, dy)]
        y = kernels.conv2d(*on_device[:2], **case.options)
        dx = kernels.conv2d_input_grad(on_device[2], on_device[1], case.x, **case.options)
        assert_exact(y.get(), exact)
        assert_exact(dx.get(), reference.conv2d_input_grad(dy, w, case.x, **case.options))


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
@pytest.mark.emulated
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
@pytest.mark.emulated
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


DEPTHWISE_LAST = [
    ((2, 13, 9, 8), (8, 3, 3, 1), {"padding": 1}),
    ((2, 11, 9, 8), (8, 3, 2, 1), {"padding": ((1, 0), (0, 2)), "stride": 2}),
    ((2, 9, 10, 3), (6, 9, 8, 1), {"padding": 4}),
]


@pytest.mark.parametrize(("shape", "w_shape", "options"), DEPTHWISE_LAST)
@pytest.mark.emulated
@pytest.mark.usefixtures("cut_small")
def test_depthwise_with_channels_last_in_tall_tiles(shape, w_shape, options, rng):
    import cupy

    options = {**options, "groups": shape[-1], "layout": "NHWC"}
    x, w = integers(rng, shape), integers(rng, w_shape)
    exact = reference.conv(x, w, **options)
    dy = integers(rng, exact.shape)
    on_device = {name: cupy.asarray(a.astype(np.float16)) for name, a in (("x", x), ("w", w), ("dy", dy))}
    with emulator.record_launches() as launches:
        assert_exact(kernels.conv2d(on_device["x"], on_device["w"], **options).get(), exact)
        dx = kernels.conv2d_input_grad(on_device["dy"], on_device["w"], shape, **options)
    assert_exact(dx.get(), reference.conv_input_grad(dy, w, shape, **options))
    names = [launch.name for launch in launches]
    assert names.count("depthwise_forward_nhwc") == names.count("depthwise_input_grad_nhwc") == shape[0]  # images
