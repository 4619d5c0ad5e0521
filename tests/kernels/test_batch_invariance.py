"""Batch invariance: with the switch on, the bits of an image's forward and dx are those it has alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from accuracy import dtype_of

from backstride import get_batch_invariant, kernels, set_batch_invariant, use_batch_invariant
from backstride.kernels.conv import cuda as conv_cuda
from backstride.kernels.conv.geometry import ConvGeometry
from backstride.kernels.cuda.gemm.choice import choose
from backstride.kernels.cuda.gemm.configuration import Architecture, Product

IMAGES = 9


class Call(NamedTuple):
    """compute(images, w): its result's samples are along `batch_axis`, as those of images, each of shape `image`."""

    compute: Callable[..., Any]
    image: tuple[int, ...]
    w: tuple[int, ...]
    batch_axis: int = 0


def _conv(rank: int, w: tuple[int, ...], extents: tuple[int, ...], **options: Any) -> dict[str, Call]:
    given = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **options}
    image = (w[1] * given["groups"], *extents)
    y_image = ConvGeometry.of("conv", (1, *image), w, **given, rank=rank).y_shape[1:]
    forward, gradient = (getattr(kernels, f"conv{rank}d{suffix}") for suffix in ("", "_input_grad"))
    return {
        f"conv{rank}d {w} {options}": Call(partial(forward, **options), image, w),
        f"dx of conv{rank}d {w} {options}": Call(
            lambda dy, w: gradient(dy, w, (len(dy), *image), **options), y_image, w
        ),
    }


CALLS = {
    **_conv(1, (5, 6, 3), (19,)),
    **_conv(2, (9, 40, 3, 3), (9, 8), padding=1),  # deep enough to be split
    **_conv(2, (8, 96, 1, 1), (4, 4)),
    **_conv(2, (6, 3, 5, 4), (17, 12), stride=(2, 3), padding=((0, 1), (2, 0))),  # few channels
    **_conv(2, (8, 1, 3, 3), (9, 7), groups=8, padding=1),  # depthwise
    **_conv(2, (8, 8, 4, 4), (12, 12), stride=4),  # patches
    **_conv(3, (5, 12, 2, 3, 2), (4, 7, 6)),
    "linear": Call(kernels.linear, (300,), (37, 300)),
    "small linear": Call(kernels.linear, (11,), (6, 11)),
    "dx of linear": Call(kernels.linear_input_grad, (300,), (300, 37)),
    "linear, samples in columns": Call(partial(kernels.linear, batch_axis=1), (300,), (37, 300), 1),
    "dx of linear, samples in columns": Call(partial(kernels.linear_input_grad, batch_axis=1), (300,), (300, 37), 1),
    "layer_norm": Call(lambda x, w: kernels.layer_norm(x, x.shape[1:], None, None)[0], (12, 9, 8), (1,)),
    "group_norm": Call(lambda x, w: kernels.group_norm(x, 4, None, None)[0], (12, 9, 8), (1,)),
    "softmax": Call(lambda x, w: kernels.softmax(x), (33,), (1,)),
    "avg_pool2d": Call(lambda x, w: kernels.avg_pool2d(x, 3), (5, 9, 8), (1,)),
}


def _take(samples: np.ndarray, some: slice, axis: int) -> np.ndarray:
    return np.ascontiguousarray(samples[some] if axis == 0 else samples[:, some])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", CALLS)
def test_bits_of_an_image_are_those_it_has_alone(path, rng, name, dtype):
    call = CALLS[name]
    shape = (IMAGES, *call.image) if call.batch_axis == 0 else (*call.image, IMAGES)
    images, w = (rng.standard_normal(s).astype(dtype_of(dtype)) for s in (shape, call.w))
    with use_batch_invariant():
        together = path.run(call.compute, images, w)
        for some in (slice(0, 1), slice(IMAGES - 1, IMAGES), slice(2, 5)):
            apart = path.run(call.compute, _take(images, some, call.batch_axis), w)
            assert apart.tobytes() == _take(together, some, call.batch_axis).tobytes()
        none = path.run(call.compute, _take(images, slice(0), call.batch_axis), w)
        assert none.size == 0


LAYERS = [
    ((64, 56, 56), (64, 64, 3, 3), 1),
    ((256, 14, 14), (256, 256, 3, 3), 1),
    ((512, 7, 7), (512, 512, 3, 3), 1),
    ((1024, 14, 14), (256, 1024, 1, 1), 0),
    ((3, 224, 224), (64, 3, 7, 7), 3),
]
PRODUCTS: list[Callable[[ConvGeometry], Product]] = [conv_cuda._forward_product, conv_cuda._input_grad_product]


@pytest.mark.parametrize("sm", [75, 80, 90, 120])
@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize(("image", "w", "padding"), LAYERS)
def test_one_image_decides_how_every_batch_is_summed_up(image, w, padding, dtype, product, sm):
    def chosen(n: int) -> tuple[object, ...]:
        g = ConvGeometry.of("conv2d", (n, *image), w, stride=1, padding=padding, dilation=1, groups=1)
        one = product(g.of_one_image)
        found = choose(product(g), dtype, Architecture(sm, 132), "auto", one)
        assert found.splits == 1
        assert found.product == product(g)
        return found.summation

    assert len({chosen(n) for n in (1, 2, 8, 32, 256)}) == 1


def test_without_the_switch_a_deep_product_of_one_image_is_split():
    """Else the test above says nothing."""
    g = ConvGeometry.of("conv2d", (1, 512, 7, 7), (512, 512, 3, 3), stride=1, padding=1, dilation=1, groups=1)
    assert choose(conv_cuda._forward_product(g), "float32", Architecture(90, 132), "auto").splits > 1


def test_the_switch(monkeypatch):
    assert get_batch_invariant() is False
    with use_batch_invariant():
        assert get_batch_invariant() is True
        with use_batch_invariant(False):
            assert get_batch_invariant() is False
    try:
        set_batch_invariant(True)
        assert get_batch_invariant() is True
    finally:
        set_batch_invariant(False)
    with pytest.raises(TypeError, match="batch_invariant: on is 'yes'; expected True or False"):
        set_batch_invariant("yes")


def test_no_image_is_computed_by_a_kernel_kept_for_another_choice(path, rng):
    """What a first call launched is kept: not for calls under the other choice."""
    images, w = (rng.standard_normal(shape).astype(np.float16) for shape in ((IMAGES, 40, 9, 8), (9, 40, 3, 3)))
    conv = partial(kernels.conv2d, padding=1)
    path.run(conv, images, w)
    with use_batch_invariant():
        assert path.run(conv, images[:1], w).tobytes() == path.run(conv, images, w)[:1].tobytes()
