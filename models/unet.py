"""U-Net (Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation", 2015)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..layers import BatchNorm2d, Concatenate, Conv2d, ConvTranspose2d, Identity, Layer, MaxPool2d, Sequential
from .initial import Rng, draw


def _convolutions(in_channels: int, channels: int, dtype: Any, rng: np.random.Generator) -> dict[str, Layer]:
    return {
        "conv1": Conv2d(in_channels, channels, 3, padding=1, bias=False, dtype=dtype, rng=rng),
        "bn1": BatchNorm2d(channels, activation="relu", dtype=dtype),
        "conv2": Conv2d(channels, channels, 3, padding=1, bias=False, dtype=dtype, rng=rng),
        "bn2": BatchNorm2d(channels, activation="relu", dtype=dtype),
    }


def _level(in_channels: int, channels: int, depth: int, dtype: Any, rng: np.random.Generator) -> Sequential:
    """x -> (N, channels, H, W); below are `depth` levels more, each of half the extents and twice the channels."""
    encode = _convolutions(in_channels, channels, dtype, rng)
    if depth == 0:
        return Sequential(encode)
    down = Sequential(
        {
            "pool": MaxPool2d(2),
            "level": _level(channels, 2 * channels, depth - 1, dtype, rng),
            "up": ConvTranspose2d(2 * channels, channels, 2, 2, dtype=dtype, rng=rng),
        }
    )
    return Sequential(
        {
            "encode": Sequential(encode),
            "skip": Concatenate({"same": Identity(), "down": down}),
            "decode": Sequential(_convolutions(2 * channels, channels, dtype, rng)),
        }
    )


def unet(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    small_images: bool = False,
    dtype: Any = "float32",
    rng: Rng = None,
) -> Sequential:
    """x (N, in_channels, H, W) -> logits (N, num_classes, H, W): one class for each pixel.

    Five levels of 64 to 1,024 channels, convolutions padded to keep the extents, with batch normalisation; H and W are
    multiples of 16. small_images: three levels of 64 to 256 channels, and multiples of 4. dtype, rng: as for the
    layers.

    Names: a level is `encode` (conv1, bn1, conv2, bn2), `skip.down` (pool, the level below as `level`, and up), and
    `decode` (as encode); the lowest has conv1 to bn2 alone. So the first convolution is level.encode.conv1.weight, the
    lowest of small_images level.skip.down.level.skip.down.level.conv1.weight, and the last, of 1x1, head.weight.
    Raises as the layers.
    """
    rng = np.random.default_rng(rng)
    net = Sequential(
        {
            "level": _level(in_channels, 64, 2 if small_images else 4, dtype, rng),
            "head": Conv2d(64, num_classes, 1, dtype=dtype, rng=rng),
        }
    )
    draw(net, rng)
    return net
