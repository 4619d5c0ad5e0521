"""The choice of tiles and splits for the CUDA products: pure functions, so no GPU is needed."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from backstride.kernels.conv.geometry import ConvGeometry
from backstride.kernels.cuda.gemm import cost
from backstride.kernels.cuda.gemm.choice import WORKSPACE_LIMIT, candidates, choose, multiply_policy
from backstride.kernels.cuda.gemm.configuration import (
    Architecture,
    Configuration,
    HaloConfiguration,
    Product,
    WeightHaloConfiguration,
    vector,
)

SM_COUNTS = {75: 40, 80: 108, 86: 84, 89: 128, 90: 132, 100: 148, 120: 170}
ARCHITECTURES = [Architecture(sm, count) for sm, count in SM_COUNTS.items()]
DTYPES = ("float16", "bfloat16", "float32", "float64")
PRECISIONS = ("auto", "ieee", "tf32x3", "tf32")
H200 = Architecture(90, 132)

# What one block may have (CUDA Programming Guide, "Compute Capabilities"), in KiB.
SHARED_PER_BLOCK = {75: 64, 80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}

extents = st.integers(1, 5000)
flags = st.booleans()
words = st.sampled_from([0, 1, 2, 4, 8])  # elements of A fetched at a time; 0: A is a matrix
matrices = st.builds(Product, extents, extents, st.integers(0, 200_000), st.integers(1, 40), flags, flags, words)


@st.composite
def convolutions(draw: st.DrawFn) -> Product:
    """The product of a forward convolution or of a weight gradient, as halo tiles are possible for."""
    (r, s), stride, dilation = (draw(st.tuples(st.integers(1, most), st.integers(1, most))) for most in (5, 3, 3))
    window = dilation[0] * (r - 1) + 1, dilation[1] * (s - 1) + 1
    x = draw(st.integers(1, 6)), draw(st.integers(1, 300)), *(draw(st.integers(w, w + 60)) for w in window)
    w = draw(st.integers(1, 300)), x[1], r, s
    g = ConvGeometry.of("c", x, w, stride=stride, padding=0, dilation=dilation, groups=1)
    pixels, depth, word = g.N * g.P * g.Q, g.C * r * s, draw(words.filter(bool))
    if draw(flags):
        return Product(pixels, g.K, depth, 1, False, True, word, g)
    return Product(depth, g.K, pixels, 1, True, True, word, g)


products = matrices | convolutions()


def conv(n: int, c: int, size: int, k: int, kernel: int, stride: int = 1) -> dict[str, Product]:
    """The three products of a padded square convolution."""
    out, gathered = -(-size // stride), kernel > 1 or stride > 1
    return {
        "forward": Product(n * out * out, k, c * kernel**2, 1, False, True, gathered),
        "dx": Product(n * out * out, c, k * kernel**2 // stride**2, stride**2, False, gathered, gathered),
        "dw": Product(c * kernel**2, k, n * out * out, 1, True, True, gathered),
    }


# The layers of ResNet-50 at batch 128 and two linear ones.
LAYERS = {
    "7x7/2 3->64 @224": conv(128, 3, 224, 64, 7, 2),
    "1x1 64->64 @56": conv(128, 64, 56, 64, 1),
    "3x3 64->64 @56": conv(128, 64, 56, 64, 3),
    "3x3/2 128->128 @56": conv(128, 128, 56, 128, 3, 2),
    "3x3 256->256 @14": conv(128, 256, 14, 256, 3),
    "3x3 512->512 @7": conv(128, 512, 7, 512, 3),
    "1x1 256->1024 @14": conv(128, 256, 14, 1024, 1),
    "linear 2048->1000": {
        "forward": Product(1000, 256, 2048, 1, True, True),
        "dw": Product(2048, 1000, 256, 1, False, False),
    },
    "linear 4096->4096": {
        "forward": Product(4096, 256, 4096, 1, True, True),
        "dw": Product(4096, 4096, 256, 1, False, False),
    },
}
PRODUCTS = [(f"{layer} {name}", product) for layer, named in LAYERS.items() for name, product in named.items()]


@given(products, st.sampled_from(DTYPES), st.sampled_from(ARCHITECTURES), st.sampled_from(PRECISIONS))
def test_every_candidate_can_be_launched(
    product: Product, dtype: str, architecture: Architecture, precision: str
) -> None:
    for c in candidates(product, dtype, architecture, precision):
        assert c.m_tiles * c.tile.m >= product.m
        assert c.n_tiles * c.tile.n >= product.n
        assert c.splits == 1 or c.splits * 8 <= c.k_tiles
        assert c.workspace_bytes <= WORKSPACE_LIMIT
        assert c.shared_bytes + 2048 <= 1024 * SHARED_PER_BLOCK[architecture.sm]  # 2048: the table of taps
        assert c.blocks_per_sm >= 1
        assert c.blocks_per_sm * c.threads <= 1024
        assert cost.seconds(c) > 0


@given(products, st.sampled_from(DTYPES), st.sampled_from(ARCHITECTURES), st.sampled_from(PRECISIONS))
def test_threads_cover_every_image_evenly(
    product: Product, dtype: str, architecture: Architecture, precision: str
) -> None:
    """The condition of the static_asserts in sources.cuh, for all widths of a word that may be met.

    The source of B beside a weight gradient's halo alone may leave threads without a word in its last round.
    """

    def covers(c: Configuration, rows: int, width: int, k_major: bool) -> bool:
        along, across = (c.k, rows) if k_major else (rows, c.k)
        step, rest = divmod(c.threads, along // width)
        return rest == 0 and step > 0 and (across % step == 0 or isinstance(c, WeightHaloConfiguration))

    for c in candidates(product, dtype, architecture, precision):
        for width in (1, 2, 4, 8)[: (16 // c.itemsize).bit_length()]:
            if c.halo is None:
                assert covers(c, c.tile.m, min(width, c.vector_a or width), product.a_k_major), (c, width)
            assert covers(c, c.tile.n, c.vector_b(width), product.b_k_major), (c, width)


def by_halo(product: Product) -> list[Configuration]:
    return [c for c in candidates(product, "float16", H200, "auto") if c.halo]


@given(convolutions())
def test_a_halo_holds_the_windows_of_its_outputs(product: Product) -> None:
    """Row by row: output rows are counted through all images, and so are the rows of input that each image reads."""
    g = product.convolution
    assert g
    for pieces, halo in {(c.pieces, c.halo) for c in by_halo(product) if c.halo}:
        rows = g.N * (halo.reach if pieces else g.P)  # every input row counts as one, or those of outputs alone
        assert halo.rows * halo.row_tiles >= rows
        assert halo.columns * halo.column_tiles >= g.Q
        tops = range(rows) if pieces else [n * halo.reach + p * g.stride[0] for n in range(g.N) for p in range(g.P)]
        height = (g.R - 1) * g.dilation[0] + 1
        for first in range(0, rows, halo.rows):
            last = min(first + halo.rows, rows) - 1
            assert tops[last] + height - tops[first] <= halo.input_rows
        assert not pieces or (g.stride == (1, 1) and halo.columns == 8)
        assert (halo.columns - 1) * g.stride[1] + (g.S - 1) * g.dilation[1] + 1 == halo.input_columns


@given(convolutions())
def test_halo_configurations_cover_the_product(product: Product) -> None:
    for c in by_halo(product):
        if isinstance(c, HaloConfiguration):
            assert c.halo.rows * c.halo.columns == c.tile.m
            assert c.k_units * c.k * c.halo.taps >= product.k
        else:
            assert isinstance(c, WeightHaloConfiguration)
            assert c.halo.rows * c.halo.columns == c.k
            assert c.channels * c.halo.taps <= c.tile.m
            assert c.m_tiles * c.channels * c.halo.taps >= product.m
            assert c.parts * c.threads * 16 >= c.halo.pixels * c.channels * c.itemsize
            assert c.parts <= 3  # as weight_halo.cuh's registers allow


def test_the_strategies_meet_every_kind_of_candidate() -> None:
    """Were it not so, the tests above would show less than they seem to."""
    first = settings(phases=[Phase.generate])  # the first that is met, not the smallest
    for kind in (HaloConfiguration, WeightHaloConfiguration):
        assert find(convolutions(), lambda p, kind=kind: any(isinstance(c, kind) for c in by_halo(p)), settings=first)
    for drawn in (matrices, convolutions()):
        assert find(drawn, lambda p: choose(p, "float16", H200, "auto").vector_a > 1, settings=first)


@given(products)
def test_ieee_results_do_not_depend_on_the_gpu(product: Product) -> None:
    """With FFMA one after the other along k, the bits depend on how k is split alone."""
    splits = {choose(product, "float32", a, "ieee").splits for a in ARCHITECTURES}
    assert len(splits) == 1
    assert {choose(product, "float32", a, "ieee").multiply for a in ARCHITECTURES} == {"Ffma"}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize(("name", "product"), PRODUCTS, ids=[name for name, _ in PRODUCTS])
def test_the_layers_of_resnet50_fill_an_h200(name: str, product: Product, dtype: str) -> None:
    c = choose(product, dtype, H200, "auto")
    short = cost.seconds(c) < 3 * cost.LAUNCH_SECONDS  # splitting k would cost a launch more
    assert c.blocks >= (0.4 if short else 0.9) * H200.multiprocessors, c


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_narrow_product_takes_a_narrow_tile(dtype: str) -> None:
    assert choose(Product(100_000, 4, 600, 1, False, True, True), dtype, H200, "auto").tile.n == 16


def test_few_waves_of_blocks_are_split_so_that_the_last_one_is_short() -> None:
    """49 x 4 tiles of 128x128 on 170 multiprocessors: whole, the second wave would have 26 blocks."""
    product = Product(128 * 7 * 7, 512, 9 * 512, 1, a_k_major=False, b_k_major=True, gathered=1)
    architecture = Architecture(120, 170)
    whole = min((c for c in candidates(product, "float32", architecture, "auto") if c.splits == 1), key=cost.seconds)
    chosen = choose(product, "float32", architecture, "auto")
    assert 1 < chosen.splits <= 8
    assert cost.seconds(chosen) < 0.9 * cost.seconds(whole)


def test_an_empty_sum_is_not_split() -> None:
    c = choose(Product(64, 64, 0, 1, True, True), "float32", H200, "auto")
    assert (c.splits, c.k_tiles) == (1, 0)


def test_a_larger_workspace_than_the_limit_is_never_chosen() -> None:
    product = Product(4608, 4096, 10_000_000, 1, True, True)  # dw whose parts have 72 MiB each
    assert choose(product, "float32", H200, "auto").splits == 1


@pytest.mark.parametrize(
    ("dtype", "sm", "precision", "policy"),
    [
        ("float32", 75, "auto", "Ffma"),
        ("float32", 75, "tf32", "Ffma"),
        ("float32", 80, "auto", "Tf32x3"),
        ("float32", 86, "auto", "Ffma"),
        ("float32", 86, "tf32x3", "Tf32x3"),
        ("float32", 89, "tf32", "Tf32"),
        ("float32", 90, "auto", "Tf32x3"),
        ("float32", 90, "ieee", "Ffma"),
        ("float32", 100, "auto", "Tf32x3"),
        ("float32", 120, "auto", "Ffma"),
        ("float64", 75, "auto", "Ffma"),
        ("float64", 80, "ieee", "Dmma"),
        ("float64", 120, "auto", "Ffma"),
        ("float16", 75, "ieee", "Mma16bit"),
        ("bfloat16", 75, "auto", "Ffma"),
        ("bfloat16", 80, "auto", "Mma16bit"),
    ],
)
def test_the_multiply_policy_follows_dtype_architecture_and_precision(
    dtype: str, sm: int, precision: str, policy: str
) -> None:
    assert multiply_policy(dtype, 1000, sm, precision) == policy


def test_short_float32_sums_use_ffma() -> None:
    assert multiply_policy("float32", 27, 90, "auto") == "Ffma"
    assert multiply_policy("float32", 27, 90, "tf32x3") == "Tf32x3"


def test_the_choice_has_the_least_estimated_time() -> None:
    for _, product in PRODUCTS:
        best = choose(product, "float32", H200, "auto")
        assert cost.seconds(best) == min(cost.seconds(c) for c in candidates(product, "float32", H200, "auto"))


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: f"sm_{a.sm}")
def test_auto_takes_tensor_cores_only_where_they_are_faster_than_ffma(architecture) -> None:
    """By the model; and where nothing else was asked for, "auto" finds FFMA where three TF32 products are no faster."""
    for name, product in PRODUCTS:
        chosen = choose(product, "float32", architecture, "auto")
        ffma = min(candidates(product, "float32", architecture, "ieee"), key=cost.seconds)
        assert chosen.multiply == "Ffma" or cost.seconds(chosen) < cost.seconds(ffma), name


def test_more_work_takes_longer() -> None:
    for _, product in PRODUCTS:
        c = choose(product, "float32", H200, "auto")
        longer = dataclasses.replace(c, product=dataclasses.replace(product, k=product.k * 4 + 1000))
        assert cost.seconds(longer) > cost.seconds(c)


@given(st.sampled_from([2, 4, 8]), st.lists(st.integers(0, 1000), min_size=1, max_size=3))
def test_a_vector_divides_all_extents(itemsize: int, extents: list[int]) -> None:
    count = vector(itemsize, *extents)
    assert count * itemsize <= 16
    assert all(extent % count == 0 for extent in extents)
    assert count * itemsize == 16 or any(extent % (2 * count) for extent in extents)
