"""Products by warpgroups (sm_90a) in the emulator, each tile on shapes that the model would give another one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import emulator
import numpy as np
import pytest
import reference
from accuracy import assert_exact, dtype_of, integers

from backstride import backend, kernels
from backstride.kernels.cuda.gemm import choice, tuned
from backstride.kernels.cuda.gemm.configuration import Architecture, Configuration, HaloConfiguration, Product
from backstride.kernels.cuda.gemm.halo import halos, halos_of_every_row
from backstride.kernels.cuda.runtime import loader, nvrtc, replay

# Tile, parts of k, policy and dtype.
PRODUCTS = [
    ((256, 128), 1, "Wgmma16bit", "float16"),
    ((128, 128), 2, "Wgmma16bit", "bfloat16"),
    ((128, 64), 1, "Wgmma16bit", "float16"),
    ((64, 128), 2, "Wgmma16bit", "bfloat16"),
    ((64, 64), 1, "Wgmma16bit", "float16"),
    ((128, 64), 1, "WgmmaTf32x3", "float32"),
    ((64, 128), 2, "WgmmaTf32x3", "float32"),
    ((64, 64), 1, "WgmmaTf32", "float32"),
]

CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "1x1": ((2, 40, 9, 11), (70, 40, 1, 1), {}),
    "strided": ((2, 9, 11, 13), (20, 9, 3, 2), {"stride": 2, "padding": 1}),
    "groups": ((3, 10, 8, 7), (4, 5, 5, 5), {"padding": 2, "dilation": 1, "groups": 2}),
    "empty batch": ((0, 10, 8, 7), (4, 10, 3, 3), {}),
}


def _forget() -> None:
    loader._kernel.cache_clear()
    loader._module.cache_clear()
    replay.forget()


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.setenv("EMULATOR_SM", "90")
    _forget()
    # with a backend in force no probe meets the emulator and is remembered
    with emulator.installed() as module, backend.use_backend("numpy"):
        yield module
    _forget()


def take(
    monkeypatch: pytest.MonkeyPatch,
    tile: tuple[int, int],
    splits: int = 1,
    *,
    multiply: str = "Wgmma16bit",
    by_halo: bool = False,
) -> None:
    """Have every product take this tile, k split in so many parts."""
    tiles = choice.WGMMA_TILES if multiply == "Wgmma16bit" else choice.WGMMA_FLOAT32_TILES
    found = next(each for each in tiles if (each.m, each.n) == tile)

    def choose(product: Product, dtype: str, architecture: Architecture, *_: Any) -> Configuration:
        rest = product, dtype, found, multiply, 4 if multiply == "Wgmma16bit" else 3, 1, architecture
        whole = Configuration(*rest)
        if by_halo and product.convolution and not product.a_k_major:
            halos_of = halos_of_every_row if whole.pieces else halos
            whole = HaloConfiguration(*rest, next(halos_of(product.convolution, found.m)))
        return dataclasses.replace(whole, splits=max(1, min(splits, whole.k_units)))

    monkeypatch.setattr(tuned, "choose", choose)
    replay.forget()


def rounded(exact: np.ndarray, got: np.ndarray) -> np.ndarray:
    """Every sum is exact in float32, whatever its order, and is rounded once."""
    return exact.reshape(got.shape).astype(np.float32).astype(got.dtype).astype(np.float64)


@pytest.mark.parametrize("batch_axis", [0, 1])
@pytest.mark.parametrize(("tile", "splits", "multiply", "dtype"), PRODUCTS)
def test_linear(cupy, rng, monkeypatch, tile, splits, multiply, dtype, batch_axis) -> None:
    """Each operand along k and along its own axis; 100 features are no whole k-tile, 33 samples no whole words."""
    samples, features, outputs = 33, 100, 150
    x, w, b, dy = (integers(rng, s) for s in ((samples, features), (outputs, features), outputs, (samples, outputs)))
    if batch_axis == 1:
        x, b, dy = x.T.copy(), b.reshape(-1, 1), dy.T.copy()
    take(monkeypatch, tile, splits, multiply=multiply)
    on_x, on_w, on_b, on_dy = (cupy.asarray(a.astype(dtype_of(dtype))) for a in (x, w, b, dy))
    with emulator.record_launches() as launches:
        got = (
            kernels.linear(on_x, on_w, on_b, batch_axis=batch_axis),
            kernels.linear_input_grad(on_dy, on_w, batch_axis=batch_axis),
            *kernels.linear_parameter_grads(on_dy, on_x, batch_axis=batch_axis),
        )
    assert [launch.name for launch in launches if launch.name != "split_sum"] == ["linear"] * 3
    expected = (
        reference.linear(x, w, b, batch_axis=batch_axis),
        reference.linear_input_grad(dy, w, batch_axis=batch_axis),
        reference.linear_weight_grad(dy, x, batch_axis=batch_axis),
        reference.linear_bias_grad(dy, batch_axis=batch_axis),
    )
    for array, exact in zip(got, expected, strict=True):
        assert_exact(array.get(), rounded(exact, array.get()))


def convolve(cupy: ModuleType, rng: np.random.Generator, x_shape: Any, w_shape: Any, options: Any, dtype: str) -> None:
    """y, dx, dw and db of a convolution are exact."""
    x, w, b = integers(rng, x_shape), integers(rng, w_shape), integers(rng, w_shape[0])
    exact = reference.conv2d(x, w, b, **options)
    dy = integers(rng, exact.shape)
    on_x, on_w, on_b, on_dy = (cupy.asarray(a.astype(dtype_of(dtype))) for a in (x, w, b, dy))
    got = (
        kernels.conv2d(on_x, on_w, on_b, **options),
        kernels.conv2d_input_grad(on_dy, on_w, x_shape, **options),
        *kernels.conv2d_parameter_grads(on_dy, on_x, w_shape, **options),
    )
    expected = (
        exact,
        reference.conv2d_input_grad(dy, w, x_shape, **options),
        reference.conv2d_weight_grad(dy, x, w_shape, **options),
        reference.conv2d_bias_grad(dy),
    )
    for array, exact in zip(got, expected, strict=True):
        assert_exact(array.get(), rounded(exact, array.get()))


@pytest.mark.parametrize(
    ("name", "tile", "splits", "multiply", "dtype"),
    [
        ("1x1", (128, 128), 1, "Wgmma16bit", "bfloat16"),
        ("strided", (128, 64), 2, "Wgmma16bit", "float16"),
        ("groups", (64, 128), 3, "Wgmma16bit", "bfloat16"),
        ("groups", (64, 64), 1, "Wgmma16bit", "float16"),
        ("empty batch", (128, 64), 2, "Wgmma16bit", "float16"),
        ("1x1", (64, 128), 1, "WgmmaTf32", "float32"),
        ("strided", (128, 64), 1, "WgmmaTf32x3", "float32"),
        ("groups", (64, 64), 2, "WgmmaTf32x3", "float32"),
    ],
)
def test_convolution(cupy, rng, monkeypatch, name, tile, splits, multiply, dtype) -> None:
    take(monkeypatch, tile, splits, multiply=multiply)
    convolve(cupy, rng, *CONVOLUTIONS[name], dtype)


HALOS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((2, 40, 9, 11), (70, 40, 3, 3), {"padding": 1}),
    "images cross tiles": ((5, 33, 3, 4), (3, 33, 3, 3), {"padding": ((2, 0), (1, 2))}),
    "dilated groups": ((1, 10, 13, 10), (4, 5, 5, 3), {"padding": 2, "dilation": (1, 2), "groups": 2}),
    "one channel block": ((3, 16, 8, 16), (40, 16, 3, 3), {"padding": ((0, 1), (1, 1))}),
}


@pytest.mark.parametrize(
    ("name", "tile", "splits", "multiply", "dtype"),
    [
        ("3x3", (128, 64), 2, "Wgmma16bit", "float16"),
        ("images cross tiles", (64, 128), 1, "Wgmma16bit", "bfloat16"),
        ("dilated groups", (256, 128), 1, "Wgmma16bit", "float16"),
        ("one channel block", (128, 64), 1, "Wgmma16bit", "float16"),
        ("images cross tiles", (128, 64), 2, "WgmmaTf32x3", "float32"),
        ("dilated groups", (64, 64), 1, "WgmmaTf32", "float32"),
    ],
)
def test_convolution_by_halo(cupy, rng, monkeypatch, name, tile, splits, multiply, dtype) -> None:
    take(monkeypatch, tile, splits, multiply=multiply, by_halo=True)
    with emulator.record_launches() as launches:
        convolve(cupy, rng, *HALOS[name], dtype)
    assert [launch.name for launch in launches].count("conv_halo") == 2


@pytest.mark.parametrize("by_halo", [False, True])
def test_padding_beside_infinities(cupy, rng, monkeypatch, by_halo) -> None:
    """Zeros times an infinite weight are not added."""
    take(monkeypatch, (128, 64), by_halo=by_halo)
    x, w = integers(rng, (1, 9, 6, 7)), integers(rng, (5, 9, 3, 3))
    w[:, :, 0, 0] = np.inf
    y = kernels.conv2d(*(cupy.asarray(a.astype(np.float16)) for a in (x, w)), padding=1).get()
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(y, kernels.conv2d(x, w, padding=1).astype(np.float16))


@pytest.mark.parametrize(
    ("dtype", "precision", "by_warpgroups"),
    [
        ("float16", "auto", "Wgmma16bit"),
        ("float32", "auto", "WgmmaTf32x3"),
        ("float32", "tf32", "WgmmaTf32"),
        ("float32", "ieee", None),
    ],
)
def test_only_hopper_multiplies_by_warpgroups(dtype, precision, by_warpgroups) -> None:
    wide = Product(4096, 4096, 4096, 1, True, True)
    for sm in (80, 86, 89, 90, 100, 120):
        found = {c.multiply for c in choice.candidates(wide, dtype, Architecture(sm, 132), precision)}
        assert found >= {choice.multiply_policy(dtype, 4096, sm, precision)}
        assert {each for each in found if each.startswith("Wgmma")} == ({by_warpgroups} - {None} if sm == 90 else set())


RACE, WRONG = "race on shared memory", "a wrong result"
EARLY = f"what wgmma still reads|{RACE}"
MUTATIONS = {
    "copies that wgmma does not see": ("if constexpr (PIECES) fence_for_wgmma();", "", "has not fenced"),
    "a stage filled while it is read": ("AHEAD = STAGES - 1 - PIECES", "AHEAD = STAGES - 1", EARLY),
    "no wait for the k-tile before": ("wgmma_wait<1>();", "wgmma_wait<2>();", EARLY),
    "no wait for the last k-tile": ("wgmma_wait<0>();", "", "while wgmma is under way"),
    "a wgmma that is never waited for": ("wgmma_commit();\n        wgmma_wait<1>();", "", "while wgmma is under way"),
    "rows of one instruction beside each other": ("INSTRUCTIONS * view.columns", "view.columns", WRONG),
    "pieces of B change places": ("K_BYTES, ROW_BYTES);", "ROW_BYTES, K_BYTES);", f"{RACE}|{WRONG}"),
    "pieces of B across": ("ImageB::K_MAJOR>(acc", "!ImageB::K_MAJOR>(acc", WRONG),
    "the first 16 values of k twice": ("columns_of_b<ImageB>(image_b, k)", "columns_of_b<ImageB>(image_b, 0)", WRONG),
    "a tap is not shifted": ("at(image.shift(tap), 0)", "at(0, 0)", WRONG),
    "a halo filled while it is read": ("image.tiles.taps) - PIECES", "image.tiles.taps)", EARLY),
    "rows between images stored": ("p < P ? n", "true ? n", f"out-of-bounds write|{WRONG}"),
}


# Of three TF32 products, whose B is made into pieces.
TF32_MUTATIONS = {
    "pieces that wgmma does not see": ("pieces_of_b);\n        fence_for_wgmma();", "pieces_of_b);", "has not fenced"),
    "pieces read before all are there": ("__syncthreads();\n        unsigned a[", "unsigned a[", RACE),
    "pieces of the first values of k": ("(2 * pair * TILE_N + warp_column())", "warp_column()", WRONG),
    "big parts for small ones": ("(order - part) * PART", "part * PART", WRONG),
    "a k-tile begun with the last one's sum": ("pair > 0 || part + 1 < PARTS", "true", WRONG),
}


def evidence(cupy: ModuleType, rng: np.random.Generator) -> str:
    """What a convolution of three channel blocks by halo tiles shows."""
    x, w = integers(rng, (2, 65, 3, 5)), integers(rng, (40, 65, 3, 3))
    exact = reference.conv2d(x, w, padding=1)
    try:
        got = kernels.conv2d(*(cupy.asarray(a.astype(np.float16)) for a in (x, w)), padding=1).get()
    except emulator.EmulatorFault as fault:
        return str(fault)
    return "" if np.array_equal(got, rounded(exact, got)) else WRONG


def evidence_of_tf32(cupy: ModuleType, rng: np.random.Generator) -> str:
    """What three TF32 products of numbers with small parts show."""
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((20, 40), (70, 40)))
    try:
        got = kernels.linear(*map(cupy.asarray, (x, w))).get()
    except emulator.EmulatorFault as fault:
        return str(fault)
    exact = x.astype(np.float64) @ w.astype(np.float64).T
    return "" if np.allclose(got, exact, rtol=0, atol=1e-5) else WRONG  # one TF32 product is off by 1e-3


def mutate(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch, kernel: str, old: str, new: str) -> None:
    raw_module = cupy.RawModule

    def mutated(*, code: str, options: tuple[str, ...]) -> Any:
        if f"{kernel}(" in code:
            assert old in code, "the kernel no longer contains what this mutation replaces"
            code = code.replace(old, new)
        return raw_module(code=code, options=options)

    monkeypatch.setattr(cupy, "RawModule", mutated)


@pytest.mark.parametrize(("old", "new", "shown_by"), MUTATIONS.values(), ids=MUTATIONS)
def test_mutation_is_caught(cupy, rng, monkeypatch, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, monkeypatch, "conv_halo", old, new)
    take(monkeypatch, (128, 64), by_halo=True)
    found = evidence(cupy, rng)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


@pytest.mark.parametrize(("old", "new", "shown_by"), TF32_MUTATIONS.values(), ids=TF32_MUTATIONS)
def test_mutation_of_tf32_is_caught(cupy, rng, monkeypatch, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, monkeypatch, "linear", old, new)
    take(monkeypatch, (64, 128), multiply="WgmmaTf32x3")
    found = evidence_of_tf32(cupy, rng)
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


def test_kernels_as_they_are_have_no_fault(cupy, rng, monkeypatch) -> None:
    take(monkeypatch, (128, 64), by_halo=True)
    assert evidence(cupy, rng) == ""
    take(monkeypatch, (64, 128), multiply="WgmmaTf32x3")
    assert evidence_of_tf32(cupy, rng) == ""


def test_wgmma_is_compiled_for_its_architecture_alone() -> None:
    """Also with the architecture that CuPy names, and under a name of its own where kernels are kept."""
    by_warpgroups, other = "#define MULTIPLY WgmmaTf32\n", "#define MULTIPLY Tf32\n"
    assert "-arch=sm_90a" in nvrtc.options(by_warpgroups)
    assert nvrtc.options(other) == nvrtc.OPTIONS
    assert (nvrtc.architecture(by_warpgroups, 90), nvrtc.architecture(other, 90)) == ("sm_90a", "sm_90")
