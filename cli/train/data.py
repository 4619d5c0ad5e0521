"""Real handwritten digits that need no download."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..._extras import needed_for

TRAIN_IMAGES, TEST_IMAGES = 1437, 360


@dataclass(frozen=True)
class Digits:
    """images: float32 (N, 1, 8, 8), 0 (paper) to 1 (ink). labels: int64 (N,), 0 to 9."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def load_digits() -> tuple[Digits, Digits]:
    """scikit-learn's bundled digits (UCI, Alpaydin and Kaynak, 1998): 1,437 to train on and 360 held out.

    The split is random but always the same. Raises MissingExtraError without scikit-learn.
    """
    with needed_for("loading the digits"):
        from sklearn import datasets

    found = datasets.load_digits()
    images = (found.images / 16).astype(np.float32)[:, np.newaxis]
    labels = found.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    test, train = order[:TEST_IMAGES], order[TEST_IMAGES:]
    return Digits(images[train], labels[train]), Digits(images[test], labels[test])
