"""The 16-bit weight gradient by halo tiles, which the model takes for large images, on small ones in the emulator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import emulator
import numpy as np
import pytest
import reference
from accuracy import assert_exact, dtype_of, integers

from backstride import backend, kernels
from backstride.kernels.cuda.gemm import choice, tuned
from backstride.kernels.cuda.gemm.configuration import Architecture, Configuration, Product, WeightHaloConfiguration
from backstride.kernels.cuda.runtime import loader, replay

SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((2, 20, 9, 11), (18, 20, 3, 3), {"padding": 1}),
    "images-cross-tile": ((5, 17, 3, 4), (3, 17, 3, 3), {"padding": ((2, 0), (1, 2))}),
    "strided-dilated": ((2, 33, 13, 10), (5, 33, 3, 3), {"stride": (2, 1), "dilation": (1, 2), "padding": 2}),
    "groups": ((1, 10, 8, 7), (4, 5, 3, 3), {"padding": 1, "groups": 2}),
    "aligned-rows": ((1, 16, 8, 16), (70, 16, 2, 3), {"padding": ((0, 1), (1, 1))}),
}


def _forget() -> None:
    loader._kernel.cache_clear()
    loader._module.cache_clear()
    replay.forget()


@pytest.fixture
def cupy() -> Iterator[ModuleType]:
    _forget()
    # with a backend in force no probe meets the emulator and is remembered
    with emulator.installed() as module, backend.use_backend("numpy"):
        yield module
    _forget()


def take(monkeypatch: pytest.MonkeyPatch, wanted: Callable[[list[Configuration]], Configuration]) -> None:
    def choose(wide: Product, dtype: str, architecture: Architecture, precision: str, _: Any) -> Configuration:
        found = choice.candidates(wide, dtype, architecture, precision)
        return wanted([c for c in found if c.splits == 1 and not c.wgmma])

    monkeypatch.setattr(tuned, "choose", choose)
    replay.forget()


def by_halo(number: int, splits: int) -> Callable[[list[Configuration]], Configuration]:
    def wanted(found: list[Configuration]) -> Configuration:
        halos = [c for c in found if isinstance(c, WeightHaloConfiguration)]
        chosen = halos[number % len(halos)]
        return dataclasses.replace(chosen, splits=min(splits, chosen.k_units))

    return wanted


def by_elements(found: list[Configuration]) -> Configuration:
    return next(c for c in found if not c.halo)


def parameter_grads(cupy: ModuleType, dy: np.ndarray, x: np.ndarray, w_shape: Any, options: Any, dtype: str) -> Any:
    moved = (cupy.asarray(a.astype(dtype_of(dtype))) for a in (dy, x))
    dw, db = kernels.conv2d_parameter_grads(*moved, w_shape, **options)
    return dw.get(), db.get()


@pytest.mark.parametrize(("number", "splits", "dtype"), [(0, 1, "float16"), (3, 3, "bfloat16"), (6, 2, "float16")])
@pytest.mark.parametrize(("x_shape", "w_shape", "options"), SHAPES.values(), ids=list(SHAPES))
def test_parameter_grads(cupy, rng, monkeypatch, x_shape, w_shape, options, number, splits, dtype) -> None:
    take(monkeypatch, by_halo(number, splits))
    x = integers(rng, x_shape)
    dy = integers(rng, reference.conv2d(x, np.zeros(w_shape), **options).shape)
    with emulator.record_launches() as launches:
        dw, db = parameter_grads(cupy, dy, x, w_shape, options, dtype)
    assert "conv_weight_grad_halo" in [each.name for each in launches]
    # every sum is exact in float32, whatever its order, and is rounded once
    exact = reference.conv2d_weight_grad(dy, x, w_shape, **options), reference.conv2d_bias_grad(dy)
    for got, expected in zip((dw, db), exact, strict=True):
        assert_exact(got, expected.reshape(got.shape).astype(np.float32).astype(got.dtype).astype(np.float64))


def test_what_a_tap_does_not_read_may_be_infinite(cupy, rng, monkeypatch) -> None:
    """A tile's pixels past the last column are no outputs, but the halo has an image's column there."""
    x_shape, w_shape, options = SHAPES["3x3"]
    x = integers(rng, x_shape)
    x[..., -1] = np.inf
    dy = integers(rng, (2, 18, 9, 11))
    take(monkeypatch, by_elements)
    expected, _ = parameter_grads(cupy, dy, x, w_shape, options, "float16")
    assert np.isfinite(expected[..., 0]).all()
    take(monkeypatch, by_halo(0, 1))
    got, _ = parameter_grads(cupy, dy, x, w_shape, options, "float16")
    np.testing.assert_array_equal(got, expected)


MUTATIONS = {
    "a tap is not shifted": ("view.pixels[pair] + view.shifts[i]", "view.pixels[pair]"),
    "pixels past the last column count": ("view.pixels[pair] ? view.pixels", "true ? view.pixels"),
    "rows of the tile one apart": ("tile.row0 + k / TILE_COLUMNS", "tile.row0"),
    "one halo for all stages": ("halos + tile % STAGES *", "halos + 0 *"),
    "no bound of the image's columns": (" & ((unsigned)column < (unsigned)W)", ""),
    "no bound of the images": ("(n < tiles.N) & ", ""),
    "no bound of the channels": ("i < count, first.base", "first.valid, first.base"),
    "the last filters are those before": ("if ((i + 1) * STEP < rows)", "if ((i + 2) * STEP < rows)"),
    "filters past the tile's are copied": ("COUNT * STEP == ROWS || row(i) < ROWS", "true"),
    "rows past the warp's part": (") < WARP_M", ") < 2 * WARP_M"),
}


@pytest.mark.parametrize(("old", "new"), MUTATIONS.values(), ids=MUTATIONS)
def test_mutation_is_caught(cupy, rng, monkeypatch, old: str, new: str) -> None:
    x_shape, w_shape, options = (2, 17, 9, 11), (64, 17, 3, 3), {"padding": 1}
    raw_module = cupy.RawModule

    def mutated(*, code: str, options: tuple[str, ...]) -> Any:
        if "conv_weight_grad_halo(" in code:
            assert old in code, "the kernel no longer contains what this mutation replaces"
            code = code.replace(old, new)
        return raw_module(code=code, options=options)

    monkeypatch.setattr(cupy, "RawModule", mutated)
    x = integers(rng, x_shape)
    x[..., -1] = np.inf
    dy = integers(rng, (2, 64, 9, 11))
    take(monkeypatch, by_elements)
    expected, _ = parameter_grads(cupy, dy, x, w_shape, options, "float16")
    take(monkeypatch, by_halo(1, 1))
    try:
        got, _ = parameter_grads(cupy, dy, x, w_shape, options, "float16")
    except emulator.EmulatorFault:
        return
    assert not np.array_equal(got, expected, equal_nan=True), "nothing shows this mutation"
