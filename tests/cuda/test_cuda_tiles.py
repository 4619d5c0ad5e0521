"""The choice of tiles and splits for the CUDA products: pure functions, so no GPU is needed."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride.kernels.cuda.gemm.tiles import (
    WORKSPACE_LIMIT,
    Architecture,
    Configuration,
    Product,
    candidates,
    choose,
    multiply_policy,
    vector,
)

SM_COUNTS = {75: 40, 80: 108, 86: 84, 89: 128, 90: 132, 100: 148, 120: 170}
ARCHITECTURES = [Architecture(sm, count) for sm, count in SM_COUNTS.items()]
DTYPES = ("float16", "bfloat16", "float32", "float64")
PRECISIONS = ("auto", "ieee", "tf32x3", "tf32")
H200 = Architecture(90, 132)

# What one block may have (CUDA C++ Programming Guide, "Technical Specifications per Compute Capability").
SHARED_PER_BLOCK = {75: 64, 80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}

extents = st.integers(1, 5000)
flags = st.booleans()
products = st.builds(Product, extents, extents, st.integers(0, 200_000), st.integers(1, 40), flags, flags, flags)


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
        assert c.seconds > 0


@given(products, st.sampled_from(DTYPES), st.sampled_from(ARCHITECTURES), st.sampled_from(PRECISIONS))
def test_threads_cover_every_image_evenly(
    product: Product, dtype: str, architecture: Architecture, precision: str
) -> None:
    """The condition of the static_asserts in sources.cuh, for all widths of a word."""

    def covers(c: Configuration, rows: int, width: int, k_major: bool) -> bool:
        along, across = (c.k, rows) if k_major else (rows, c.k)
        step, rest = divmod(c.threads, along // width)
        return rest == 0 and step > 0 and across % step == 0

    for c in candidates(product, dtype, architecture, precision):
        for width in (1, 2, 4, 8)[: (16 // c.itemsize).bit_length()]:
            assert covers(c, c.tile.m, width, product.a_k_major), (c, width)
            assert covers(c, c.tile.n, c.vector_b(width), product.b_k_major), (c, width)


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
    assert c.blocks >= 0.9 * H200.multiprocessors, c


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_narrow_product_takes_a_narrow_tile(dtype: str) -> None:
    assert choose(Product(100_000, 4, 600, 1, False, True, True), dtype, H200, "auto").tile.n == 16


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
        assert best.seconds == min(c.seconds for c in candidates(product, "float32", H200, "auto"))


def test_more_work_takes_longer() -> None:
    for _, product in PRODUCTS:
        c = choose(product, "float32", H200, "auto")
        longer = dataclasses.replace(c, product=dataclasses.replace(product, k=product.k * 4 + 1000))
        assert longer.seconds > c.seconds


@given(st.sampled_from([2, 4, 8]), st.lists(st.integers(0, 1000), min_size=1, max_size=3))
def test_a_vector_divides_all_extents(itemsize: int, extents: list[int]) -> None:
    count = vector(itemsize, *extents)
    assert count * itemsize <= 16
    assert all(extent % count == 0 for extent in extents)
    assert count * itemsize == 16 or any(extent % (2 * count) for extent in extents)
