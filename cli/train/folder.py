"""A folder of images, with a subfolder for each class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..._extras import needed_for
from ..errors import FileError, listed
from .data import Data, Images, held_out

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")


def load_folder(path: Path) -> Data:
    """The images of path/CLASS/, of which a fifth is held out, or of path/train/CLASS/ and path/test/CLASS/.

    All of one size; grey where all are, else RGB; 255 becomes 1. FileError where there are none, one cannot be read, or
    is larger than Pillow's limit against decompression bombs.
    """
    parts = [path / "train", path / "test"] if (path / "train").is_dir() and (path / "test").is_dir() else [path]
    classes = sorted({folder.name for part in parts for folder in _entries(part) if folder.is_dir()})
    if not classes:
        raise FileError(f"{path} has no subfolders; expected one with images for each class, or an .npz file")
    files = [[(file, label) for label, name in enumerate(classes) for file in _images(part / name)] for part in parts]
    pictures = [_picture(file) for part in files for file, _ in part]
    _check_sizes([file for part in files for file, _ in part], pictures, path)
    grey = all(picture.mode in ("1", "L") for picture in pictures)
    images = np.stack([_array(picture, "L" if grey else "RGB") for picture in pictures])
    loaded, first = [], 0
    for part in files:
        labels = np.array([label for _, label in part], np.int64)
        loaded.append(Images(images[first : first + len(part)], labels))
        first += len(part)
    train, test = loaded if len(loaded) == 2 else held_out(loaded[0])
    return Data(train, test, tuple(classes))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise FileError(f"{folder} cannot be read: {error.strerror or error}") from error


def _images(folder: Path) -> list[Path]:
    return [file for file in _entries(folder) if file.suffix.lower() in ENDINGS] if folder.is_dir() else []


def _picture(file: Path) -> Any:
    """The image in a file, read whole."""
    with needed_for("a folder of images"):
        from PIL import Image
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as picture:
                picture.load()
                return picture.copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise FileError(f"{file} cannot be read as an image: {' '.join(str(error).split())}") from error


def _check_sizes(files: Sequence[Path], pictures: Sequence[Any], path: Path) -> None:
    if not pictures:
        raise FileError(f"{path}: no files that end in {' '.join(ENDINGS)} in its subfolders")
    first = pictures[0].size
    wrong = [
        f"{file} has {p.size[0]}x{p.size[1]} pixels" for file, p in zip(files, pictures, strict=True) if p.size != first
    ]
    if wrong:
        raise FileError(f"{listed(wrong)}; expected {first[0]}x{first[1]} as {files[0]}")


def _array(picture: Any, mode: str) -> np.ndarray:
    """float32 (C, H, W), 0 to 1."""
    pixels = np.asarray(picture.convert(mode), np.float32) / 255
    return pixels[np.newaxis] if mode == "L" else np.moveaxis(pixels, 2, 0)
