"""Rows seen through a window in words of several elements, where every tap of a convolution at stride 1 is aligned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any

import emulator
import pytest
import reference
from accuracy import assert_exact, dtype_of, integers

from backstride import backend, kernels, use_float32_precision
from backstride.kernels.conv.geometry import ConvGeometry
from backstride.kernels.cuda.gemm import choice, tuned
from backstride.kernels.cuda.gemm.configuration import Configuration
from backstride.kernels.cuda.runtime import loader, replay

conv2d = import_module("backstride.kernels.conv.cuda")

SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], int]] = {
    "one-column": ((2, 6, 7, 16), (5, 6, 3, 1), {"padding": (1, 0)}, 8),
    "dilated": ((2, 5, 6, 24), (7, 5, 2, 3), {"padding": (1, 8), "dilation": (1, 8)}, 8),
    "dilated-by-4": ((1, 8, 5, 12), (9, 8, 3, 3), {"padding": (2, 4), "dilation": (2, 4)}, 4),
    "left-alone": ((2, 10, 5, 12), (6, 5, 1, 1), {"padding": ((1, 0), (4, 8)), "groups": 2}, 4),
    "strided-rows": ((3, 6, 9, 8), (5, 6, 3, 1), {"padding": (1, 0), "stride": (2, 1)}, 8),
    "pairs": ((2, 6, 5, 10), (5, 6, 3, 2), {"padding": (1, 2), "dilation": (1, 2)}, 2),
    "odd-rows": ((1, 6, 5, 11), (5, 6, 3, 1), {"padding": (1, 0)}, 1),
    "odd-padding": ((1, 6, 5, 16), (5, 6, 3, 1), {"padding": (1, 1)}, 1),
    "odd-dilation": ((1, 6, 5, 16), (5, 6, 3, 2), {"padding": ((1, 1), (0, 1))}, 1),
    "strided": ((1, 6, 5, 16), (5, 6, 1, 1), {"stride": (1, 2)}, 1),
}


@pytest.fixture
def cupy() -> Iterator[ModuleType]:
    with emulator.installed() as module, backend.use_backend("numpy"):
        yield module
    for kept in (loader._kernel, loader._module):
        kept.cache_clear()
    replay.forget()


def tile(number: int) -> Callable[..., Configuration]:
    """The choice of one tile, without halo tiles."""

    def choose(*arguments: Any) -> Configuration:
        found = [c for c in choice.candidates(*arguments[:4]) if c.splits == 1 and not c.halo]
        return found[number % len(found)]

    return choose


@pytest.mark.parametrize("name", SHAPES)
def test_words_are_as_long_as_all_taps_are_aligned(name):
    x, w, options, most = SHAPES[name]
    g = ConvGeometry.of("conv2d", x, w, **{"stride": 1, "dilation": 1, "groups": 1, "padding": 0, **options})
    assert conv2d._aligned(g) == most


@pytest.mark.parametrize("number", [0, 2, 4, 5])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape[3] > 1])
def test_results_are_exact(name, dtype, number, cupy, rng, monkeypatch):
    x_shape, w_shape, options, _ = SHAPES[name]
    monkeypatch.setattr(tuned, "choose", tile(number))
    replay.forget()
    x, w = integers(rng, x_shape), integers(rng, w_shape)
    exact = reference.conv2d(x, w, **options)
    dy = integers(rng, exact.shape)
    on_device = [cupy.asarray(a.astype(dtype_of(dtype))) for a in (x, w, dy)]
    with use_float32_precision("ieee" if number else "auto"):
        y = kernels.conv2d(*on_device[:2], **options)
        dx = kernels.conv2d_input_grad(on_device[2], on_device[1], x_shape, **options)
        dw, db = kernels.conv2d_parameter_grads(on_device[2], on_device[0], w_shape, **options)
    assert_exact(y.get(), exact)
    assert_exact(dx.get(), reference.conv2d_input_grad(dy, w, x_shape, **options))
    assert_exact(dw.get(), reference.conv2d_weight_grad(dy, x, w_shape, **options))
    assert_exact(db.get(), reference.conv2d_bias_grad(dy))


def test_a_word_that_is_not_aligned_is_caught(cupy, rng, monkeypatch):
    monkeypatch.setattr(conv2d, "_aligned", lambda g: 4)
    monkeypatch.setattr(tuned, "choose", tile(2))
    replay.forget()
    x, w = integers(rng, (1, 6, 5, 16)), integers(rng, (5, 6, 3, 3))
    on_device = [cupy.asarray(a.astype("float32")) for a in (x, w)]
    with pytest.raises(emulator.EmulatorFault):
        kernels.conv2d(*on_device, padding=1).get()
