"""Images a little changed each time they are learned from: mirrored, or shifted."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import asarray, get_array_module
from ...kernels.cpu.philox import philox

FLIP, CROP = "flip", "crop"
KINDS = (FLIP, CROP)


class Augmentation:
    """What happens to each image in an epoch: a function of (seed, epoch, the image's number), whatever the order.

    flip: one in two images is mirrored, left to right. crop: an eighth of the image's size, or 1 where that is less,
    is added as zeros on all sides, and a window of the image's size cut out anywhere.
    """

    def __init__(self, kinds: tuple[str, ...], seed: int, epoch: int, images: int, shape: tuple[int, int]) -> None:
        self.margins = [max(1, extent // 8) if CROP in kinds else 0 for extent in shape]
        first, second = map(int, np.random.SeedSequence(seed).generate_state(2))
        words = philox(np.arange(images), epoch, 0, 0, key=(first, second))
        choices = [2, *(2 * margin + 1 for margin in self.margins)]
        drawn = (words[:, :3] * np.array(choices, np.uint64) >> np.uint64(32)).astype(np.int64)  # 0 to choices - 1
        self.flipped = asarray(drawn[:, 0] * (FLIP in kinds))
        self.tops, self.lefts = asarray(drawn[:, 1]), asarray(drawn[:, 2])

    def __call__(self, images: Any, numbers: Any) -> Any:
        """The images of these numbers, changed; both where the backend keeps arrays."""
        xp = get_array_module(images)
        height, width = images.shape[2:]
        sides = [(margin, margin) for margin in self.margins]
        padded = xp.pad(images, [(0, 0), (0, 0), *sides])
        rows = self.tops[numbers][:, None] + xp.arange(height)
        across = xp.arange(width)
        mirrored = self.flipped[numbers][:, None]
        columns = self.lefts[numbers][:, None] + mirrored * (width - 1 - across) + (1 - mirrored) * across
        image, channel = xp.arange(len(images)), xp.arange(images.shape[1])
        return padded[
            image[:, None, None, None], channel[None, :, None, None], rows[:, None, :, None], columns[:, None, None, :]
        ]
