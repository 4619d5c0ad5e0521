"""Tensor-core arithmetic: float32 by three TF32 products is no worse than FFMA, special values come out as FFMA gives
them, and halo tiles, which the model takes for large images only, agree with the reference on small ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import reference
from accuracy import assert_accurate, dtype_of, normal
from cupys import emulated, real

import backstride
from backstride import kernels
from backstride.kernels.cuda.gemm import choice, tuned


@pytest.fixture(params=[emulated, real], ids=["emulated", "real"])
def cupy(request, monkeypatch):
    with request.param(monkeypatch) as module:
        yield module


def linear_by(cupy, x: np.ndarray, w: np.ndarray, precision: str) -> np.ndarray:
    with backstride.use_float32_precision(precision):
        return kernels.linear(cupy.asarray(x), cupy.asarray(w)).get()


@pytest.mark.parametrize("k", [128, 4608, 32768])
def test_three_tf32_products_are_no_worse_than_ffma(cupy, rng, k: int) -> None:
    """The emulator truncates what a tensor core accumulates; one accumulator over all of k would lose 15 times more
    than FFMA at 4608."""
    x, w = (rng.standard_normal((16, k)).astype(np.float32) for _ in range(2))
    exact = x.astype(np.float64) @ w.astype(np.float64).T

    def error(precision: str) -> float:
        return float(np.sqrt(np.mean((linear_by(cupy, x, w, precision) - exact) ** 2)) / np.sqrt(k))

    ieee, tf32x3, tf32 = map(error, ("ieee", "tf32x3", "tf32"))
    assert tf32x3 <= ieee
    assert 1e-5 < tf32 < 1e-3  # 10-bit mantissas: 2**-11 for each operand; and the switch does switch


def test_special_values_come_out_as_ffma_gives_them(cupy) -> None:
    largest = np.finfo(np.float32).max
    values = np.array([0, -0.0, 1, -2.5, np.inf, -np.inf, np.nan, largest, -largest, 1e-30, 1.7e19, 1e30], np.float32)
    # each product alone between a 0 * 0.5 and a 1 * 0
    x = np.stack([np.zeros_like(values), values, np.ones_like(values)], axis=1)
    w = np.stack([np.full_like(values, 0.5), values, np.zeros_like(values)], axis=1)
    ieee, tf32x3 = (linear_by(cupy, x, w, precision) for precision in ("ieee", "tf32x3"))
    np.testing.assert_allclose(tf32x3, ieee, rtol=2.0**-21)  # what two roundings and the product left out may lose


def scaled(rng: np.random.Generator, shape: tuple[int, ...], exponents: tuple[int, ...]) -> np.ndarray:
    """Normal numbers times powers of ten, of which each is drawn from `exponents`."""
    powers = 10.0 ** rng.choice(exponents, shape)
    return np.clip(rng.standard_normal(shape) * powers, -3e38, 3e38).astype(np.float32)


MAGNITUDES = {
    "subnormal": ((-40,), (0,)),
    "below subnormal": ((-44,), (0, 3)),
    "least normal": ((-38,), (0,)),
    "small parts subnormal": ((-33, -35), (0,)),
    "tiny products": ((-20,), (-21,)),
    "both ends": ((-40,), (37,)),
    "large": ((30,), (-3,)),
    "largest": ((38,), (-4,)),
    "large products": ((18,), (18,)),
    "mixed": ((-40, -30, -10, 0, 8), (-38, -10, 0, 8, 28)),
    "one tiny operand": ((-44, 0), (0, 20)),
    "zeros": ((-400, -30), (-400, 0)),
}


@pytest.mark.parametrize(("x_exponents", "w_exponents"), MAGNITUDES.values(), ids=MAGNITUDES)
def test_three_tf32_products_keep_float32_accuracy_at_every_magnitude(cupy, rng, x_exponents, w_exponents) -> None:
    """No worse than FFMA, which where sums are subnormal numbers rounds each of its steps to 2**-149."""
    x, w = scaled(rng, (8, 128), x_exponents), scaled(rng, (8, 128), w_exponents)
    exact = x.astype(np.float64) @ w.astype(np.float64).T
    magnitude = np.abs(x.astype(np.float64)) @ np.abs(w.astype(np.float64)).T
    ieee, tf32x3 = (np.abs(linear_by(cupy, x, w, precision) - exact) for precision in ("ieee", "tf32x3"))
    assert (tf32x3 <= np.maximum(ieee.max(), 2.0**-149) + 2.0**-21 * magnitude).all()  # two splits, small * small
    assert_accurate(linear_by(cupy, x, w, "tf32x3"), exact, magnitude + 2.0**-125, 128)


@pytest.mark.parametrize(
    ("w_shape", "options"),
    [
        ((17, 70, 3, 3), {"padding": 1}),
        ((17, 70, 3, 3), {"padding": 1, "stride": 2}),
        ((17, 70, 1, 1), {}),
        ((17, 70, 1, 1), {"stride": 2}),
    ],
    ids=["gathered", "strided", "pointwise", "strided-pointwise"],
)
def test_products_that_overflow_where_float32_does_not_are_added_again(cupy, rng, w_shape, options) -> None:
    """A power of two changes no mantissa: results are those of ordinary numbers, but for the order of summation."""
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 70, 6, 7), w_shape))
    dy = rng.standard_normal(kernels.conv2d(x, w, **options).shape).astype(np.float32)
    power = np.float32(2.0**55)

    def results(power: np.float32) -> list[np.ndarray]:
        big_x, big_w, big_dy = (cupy.asarray(a * power) for a in (x, w, dy))
        with backstride.use_float32_precision("tf32x3"):
            y = kernels.conv2d(big_x, big_w, **options)
            dx = kernels.conv2d_input_grad(big_dy, big_w, x.shape, **options)
            dw = kernels.conv2d_weight_grad(big_dy, big_x, w.shape, **options)
        return [y.get(), dx.get(), dw.get()]

    for big, ordinary in zip(results(power), results(np.float32(1)), strict=True):
        np.testing.assert_allclose(big / power / power, ordinary, rtol=1e-4, atol=1e-4)
        assert np.isfinite(big).all()


def test_linear_layers_products_that_overflow_are_added_again(cupy, rng) -> None:
    x, w, dy = (rng.standard_normal(shape).astype(np.float32) for shape in ((9, 70), (5, 70), (9, 5)))
    power = np.float32(2.0**55)
    big_x, big_w, big_dy = (cupy.asarray(a * power) for a in (x, w, dy))
    with backstride.use_float32_precision("tf32x3"):
        y = kernels.linear(big_x, big_w, cupy.asarray(np.full(5, power * power, np.float32))).get()
        dx = kernels.linear_input_grad(big_dy, big_w).get()
        dw = kernels.linear_weight_grad(big_dy, big_x).get()
    for big, ordinary in ((y, x @ w.T + 1), (dx, dy @ w), (dw, dy.T @ x)):
        np.testing.assert_allclose(big / power / power, ordinary, rtol=1e-4, atol=1e-4)


HALO_SHAPES = {
    "3x3": ((2, 20, 9, 11), (18, 20, 3, 3), {"padding": 1}),
    "images-cross-tile": ((5, 17, 3, 4), (3, 17, 3, 3), {"padding": ((2, 0), (1, 2))}),
    "strided-dilated": ((2, 33, 13, 10), (5, 33, 3, 3), {"stride": (2, 1), "dilation": (1, 2), "padding": 2}),
    "groups": ((1, 10, 8, 7), (4, 5, 5, 5), {"padding": 2, "groups": 2}),
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("x_shape", "w_shape", "options"), HALO_SHAPES.values(), ids=list(HALO_SHAPES))
def test_halo_tiles(cupy, rng, monkeypatch, dtype: str, x_shape, w_shape, options) -> None:
    chosen = []

    def choose_halo(product, name, architecture, precision, _):
        found = [c for c in choice.candidates(product, name, architecture, precision) if c.halo and c.splits == 1]
        whole = found[len(chosen) % len(found)] if found else choice.choose(product, name, architecture, precision)
        chosen.append(dataclasses.replace(whole, splits=min(2, whole.k_units)))
        return chosen[-1]

    monkeypatch.setattr(tuned, "choose", choose_halo)
    x, w = normal(rng, x_shape, dtype), normal(rng, w_shape, dtype)
    b = normal(rng, (w_shape[0],), dtype)

    def move(a: np.ndarray):
        return cupy.asarray(a.astype(dtype_of(dtype)))

    with backstride.use_float32_precision("tf32x3"):
        y = kernels.conv2d(move(x), move(w), move(b), **options).get()
    magnitude = reference.conv2d(abs(x), abs(w), abs(b), **options)
    assert_accurate(y, reference.conv2d(x, w, b, **options), magnitude, w[0].size)
    assert chosen[0].halo

    if options.get("stride", 1) == 1:
        dy = normal(rng, y.shape, dtype)
        with backstride.use_float32_precision("tf32x3"):
            dx = kernels.conv2d_input_grad(move(dy), move(w), x_shape, **options).get()
        magnitude = reference.conv2d_input_grad(abs(dy), abs(w), x_shape, **options)
        terms = w_shape[0] * w_shape[2] * w_shape[3]
        assert_accurate(dx, reference.conv2d_input_grad(dy, w, x_shape, **options), magnitude, terms)
        assert chosen[1].halo


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "options"),
    [
        ((2, 24, 12, 16), (136, 24, 3, 3), {"padding": 1}),
        ((2, 20, 13, 18), (9, 20, 3, 2), {"padding": 1, "stride": 2}),
        ((3, 40, 5, 8), (24, 40, 1, 1), {}),
    ],
    ids=["words", "elements", "pointwise"],
)
def test_large_tiles_of_16_bit_elements(cupy, rng, monkeypatch, x_shape, w_shape, options) -> None:
    """Which the model takes for large products only."""

    def choose_large(product, name, architecture, precision, one=None):
        found = choice.candidates_by("Mma16bit", product, name, architecture)
        return next(c for c in found if c.tile == choice.LARGE_TILE and c.splits == 1 and not c.halo)

    monkeypatch.setattr(tuned, "choose", choose_large)
    x, w, b = (normal(rng, shape, "float16") for shape in (x_shape, w_shape, w_shape[:1]))
    dy = normal(rng, reference.conv2d(x, w, b, **options).shape, "float16")

    def check(operation: str, *arrays: np.ndarray, terms: int, **shapes) -> None:
        got = getattr(kernels, operation)(*[cupy.asarray(a.astype(np.float16)) for a in arrays], **shapes, **options)
        exact, magnitude = (getattr(reference, operation)(*a, **shapes, **options) for a in (arrays, map(abs, arrays)))
        assert_accurate(got.get(), exact, magnitude, terms)

    check("conv2d", x, w, b, terms=w[0].size)
    check("conv2d_input_grad", dy, w, terms=w[:, 0].size, x_shape=x_shape)
    check("conv2d_weight_grad", dy, x, terms=dy[:, 0].size, w_shape=w_shape)
