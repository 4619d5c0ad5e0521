"""Images in an .npz file, which is never unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..errors import FileError, listed
from .data import Data, Images, held_out

_PAIRS = (("images", "labels"), ("test_images", "test_labels"))
_NAMES = [name for pair in _PAIRS for name in pair]


def load_npz(path: Path) -> Data:
    """images (N, H, W) or (N, C, H, W), uint8 (of which 255 becomes 1) or floats; labels (N,), 0 upwards; and perhaps
    test_images and test_labels, without which a fifth is held out. FileError says all that is wrong."""
    arrays = _arrays(path)
    pairs = _PAIRS if any(name in arrays for name in _PAIRS[1]) else _PAIRS[:1]
    problems = [f"{name} is missing" for pair in pairs for name in pair if name not in arrays]
    problems += [f"{name} is unexpected; expected {', '.join(_NAMES)}" for name in arrays if name not in _NAMES]
    for images, labels in pairs:
        problems += _problems(images, labels, arrays)
    shapes = {arrays[images].shape[1:] for images, _ in pairs if images in arrays}
    if not problems and len(shapes) > 1:
        problems = [f"images of shapes {' and '.join(map(str, shapes))}; expected one"]
    if problems:
        raise FileError(f"{path}: {listed(problems)}")
    parts = [Images(_floats(arrays[images]), arrays[labels].astype(np.int64)) for images, labels in pairs]
    classes = 1 + max((int(part.labels.max()) for part in parts if len(part)), default=0)
    train, test = parts if len(parts) == 2 else held_out(parts[0])
    return Data(train, test, tuple(map(str, range(classes))))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with open(path, "rb") as file:
            found = np.load(file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                raise FileError(f"{path} holds a single array; expected an .npz file with images and labels")
            return {name: found[name] for name in found.files}
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:  # what NumPy raises for damage and pickles
        raise FileError(
            f"{path} is no .npz file of plain arrays, or is damaged: {' '.join(str(error).split())}"
        ) from error


def _problems(images: str, labels: str, arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    """What is wrong with the images and the labels that are there."""
    if images in arrays:
        found = arrays[images]
        if found.ndim not in (3, 4) or 0 in found.shape[1:]:
            yield f"{images} has shape {found.shape}; expected (N, H, W) or (N, C, H, W)"
        if found.dtype != np.uint8 and found.dtype.kind != "f":
            yield f"{images} has dtype {found.dtype}; expected uint8 or floats"
        elif not np.isfinite(found).all():
            yield f"{images} holds NaN or infinity"
    if labels in arrays:
        found = arrays[labels]
        if found.dtype.kind not in "iu":
            yield f"{labels} has dtype {found.dtype}; expected integers"
        elif found.size and found.min() < 0:
            yield f"{labels} holds {found.min()}; expected 0 upwards"
        elif found.size and found.max() >= MOST_CLASSES:
            yield f"{labels} holds {found.max()}; expected less than {MOST_CLASSES}"
        if found.ndim != 1 or (images in arrays and arrays[images].shape[:1] != found.shape):
            yield f"{labels} has shape {found.shape}; expected one for each of {images}"


MOST_CLASSES = 100_000
"""A larger label is a damaged file rather than a class."""


def _floats(images: np.ndarray) -> np.ndarray:
    floats = images.astype(np.float32)
    if images.dtype == np.uint8:
        floats /= 255
    return floats[:, np.newaxis] if floats.ndim == 3 else floats
