"""What is learned: images and labels, of which some are held out for the test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..._extras import needed_for
from ..errors import FileError, listed

DIGITS = "digits"
"""The name of the data that need no file."""

TRAIN_IMAGES, TEST_IMAGES = 1437, 360
TEST_SHARE = 0.2
"""Of the images of a file or folder that does not say which are for the test."""


@dataclass(frozen=True)
class Images:
    """images: float32 (N, C, H, W), 0 (paper) to 1 (ink) or what the file holds. labels: int64 (N,), 0 upwards."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Data:
    """classes: their names, by label. noun: what an image is called."""

    train: Images
    test: Images
    classes: tuple[str, ...]
    noun: str = "images"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width


def load(source: str) -> Data:
    """The digits, an .npz file or a folder of images; FileError where it cannot be read or something in it is wrong."""
    if source == DIGITS:
        train, test = load_digits()
        return Data(train, test, tuple(map(str, range(10))), DIGITS)
    path = Path(source)
    if path.is_dir():
        from .folder import load_folder

        data = load_folder(path)
    else:
        from .npz import load_npz

        data = load_npz(path)
    problems = [f"{name} images: none" for name in ("train", "test") if not len(getattr(data, name))]
    if problems:
        raise FileError(f"{path}: {listed(problems)}")
    return data


def load_digits() -> tuple[Images, Images]:
    """scikit-learn's bundled digits (UCI, Alpaydin and Kaynak, 1998): 1,437 to train on and 360 held out.

    The split is random but always the same. Raises MissingExtraError without scikit-learn.
    """
    with needed_for("loading the digits"):
        from sklearn import datasets

    found = datasets.load_digits()
    images = (found.images / 16).astype(np.float32)[:, np.newaxis]
    return split(Images(images, found.target.astype(np.int64)), TEST_IMAGES)


def held_out(images: Images) -> tuple[Images, Images]:
    """Those to train on, and for the test a share of all."""
    return split(images, round(TEST_SHARE * len(images)))


def split(images: Images, test_images: int) -> tuple[Images, Images]:
    """Those to train on, and `test_images` others: at random, but always the same."""
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[:test_images], order[test_images:]
    return (
        Images(images.images[train], images.labels[train]),
        Images(images.images[test], images.labels[test]),
    )
