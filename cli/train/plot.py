"""A training run as a picture: loss, accuracy, the learned filters, and digits that were misread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure

from ..._files import replacing
from ...backend import to_numpy
from .run import Run

FORMATS = (".png", ".pdf", ".svg")
MISREAD_SHOWN = 10

_BLUE, _ORANGE = "#2f6db5", "#d9731a"


def save_plot(training: Run, read: np.ndarray, path: Path) -> None:
    """Draw `training` into `path`; `read` are the digits it read in the test images."""
    figure = Figure(figsize=(10, 7.4), dpi=120, layout="constrained")
    rows: Any = figure.subfigures(3, 1, height_ratios=(3.6, 1.5, 1.5))
    curves, filters, misread = rows
    _curves(curves, training)
    _filters(filters, to_numpy(training.net[0].weight.data)[:, 0])  # type: ignore[attr-defined]
    _misread(misread, training, read)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix.lower().removeprefix("."))


def _curves(figure: SubFigure, training: Run) -> None:
    epochs = np.arange(1, len(training.history) + 1)
    left, right = figure.subplots(1, 2)
    history = training.history
    left.plot(epochs, [e.loss for e in history], ".-", color=_BLUE, label="training, while learning")
    left.plot(epochs, [e.test_loss for e in history], ".-", color=_ORANGE, label="test")
    left.set(title="loss (cross-entropy)", xlabel="epoch", yscale="log")
    right.plot(epochs, [100 * e.accuracy for e in history], ".-", color=_BLUE, label="training, while learning")
    right.plot(epochs, [100 * e.test_accuracy for e in history], ".-", color=_ORANGE, label="test")
    right.set(title=f"accuracy (test: {history[-1].test_accuracy:.2%} at the end)", xlabel="epoch", ylabel="%")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)


def _filters(figure: SubFigure, filters: np.ndarray) -> None:
    """All filters in two rows, one colour scale for all: blue takes ink away, red adds it."""
    count, height, width = filters.shape
    columns = -(-count // 2)
    sheet = np.full((2 * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for place, one in enumerate(filters):
        row, column = divmod(place, columns)
        top, left = row * (height + 1), column * (width + 1)
        sheet[top : top + height, left : left + width] = one
    axes = figure.subplots()
    limit = np.abs(filters).max()
    image = axes.imshow(sheet, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_title(f"the {count} learned filters, {height}x{width}")
    axes.set_axis_off()
    figure.colorbar(image, ax=axes, shrink=0.8, pad=0.01)


def _misread(figure: SubFigure, training: Run, read: np.ndarray) -> None:
    wrong = np.flatnonzero(read != training.test.labels)
    title = f"{len(wrong)} of {len(training.test)} test digits misread"
    if len(wrong) > MISREAD_SHOWN:
        title += f", {MISREAD_SHOWN} of them"
    figure.suptitle(title)
    row: Any = figure.subplots(1, MISREAD_SHOWN)
    for axes in row:
        axes.set_axis_off()
    shown = wrong[:MISREAD_SHOWN]
    for axes, place in zip(row[(MISREAD_SHOWN - len(shown)) // 2 :], shown, strict=False):
        axes.imshow(training.test.images[place, 0], cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(f"{training.test.labels[place]} read as {read[place]}", fontsize=9)
