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
from backstride.kernels.cuda.gemm import choice, product


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


@pytest.mark.xfail(reason="three TF32 products lose what lies below TF32's smallest normal number", strict=True)
def test_w3_tiny_numbers_keep_their_accuracy(cupy, rng) -> None:
    """Subnormal numbers of float32 times numbers of about 1."""
    x = (rng.standard_normal((8, 128)) * 1e-40).astype(np.float32)
    w = rng.standard_normal((8, 128)).astype(np.float32)
    ieee, tf32x3 = (linear_by(cupy, x, w, precision) for precision in ("ieee", "tf32x3"))
    scale = np.abs(x.astype(np.float64)) @ np.abs(w.astype(np.float64)).T
    assert np.max(np.abs(tf32x3 - ieee.astype(np.float64)) / scale) < 1e-6  # what 128 roundings of float32 may lose


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

    def choose_halo(product, name, architecture, precision):
        found = [c for c in choice.candidates(product, name, architecture, precision) if c.halo and c.splits == 1]
        whole = found[len(chosen) % len(found)] if found else choice.choose(product, name, architecture, precision)
        chosen.append(dataclasses.replace(whole, splits=min(2, whole.k_units)))
        return chosen[-1]

    monkeypatch.setattr(product, "choose", choose_halo)
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
