"""A training run as a picture: loss, accuracy, learning rate, what was taken for what, filters, and misread images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure

from ..._files import replacing
from ...backend import to_numpy
from .report import confusion
from .run import Run
from .settings import SCHEDULES, SMALL

FORMATS = (".png", ".pdf", ".svg")
MISREAD_SHOWN = 10
MOST_NAMED = 20
_FILTER_ROWS = 6

_BLUE, _ORANGE = "#2f6db5", "#d9731a"


def save_plot(training: Run, read: np.ndarray, path: Path) -> None:
    """Draw `training` into `path`; `read` are the classes it read in the test images."""
    figure = Figure(figsize=(11, 9.5), dpi=120, layout="constrained")
    rows: Any = figure.subfigures(3, 1, height_ratios=(3, 4, 1.5))
    curves, middle, misread = rows
    _curves(curves, training)
    if training.settings.model == SMALL:
        left, right = middle.subfigures(1, 2)
        _filters(right, to_numpy(training.net[0].weight.data)[:, 0].astype(np.float32))
    else:
        left = middle
    _confusion(left, confusion(training.test.labels, read, len(training.data.classes)), training.data.classes)
    _misread(misread, training, read)
    with replacing(path) as file:
        figure.savefig(file, format=path.suffix.lower().removeprefix("."))


def _curves(figure: SubFigure, training: Run) -> None:
    epochs = np.arange(1, len(training.history) + 1)
    left, right, rate = figure.subplots(1, 3)
    history = training.history
    left.plot(epochs, [e.loss for e in history], ".-", color=_BLUE, label="training, while learning")
    left.plot(epochs, [e.test_loss for e in history], ".-", color=_ORANGE, label="test")
    left.set(title="loss (cross-entropy)", xlabel="epoch", yscale="log")
    right.plot(epochs, [100 * e.accuracy for e in history], ".-", color=_BLUE, label="training, while learning")
    right.plot(epochs, [100 * e.test_accuracy for e in history], ".-", color=_ORANGE, label="test")
    right.set(title=f"accuracy (test: {history[-1].test_accuracy:.2%} at the end)", xlabel="epoch", ylabel="%")
    left.legend(frameon=False)
    steps = len(training.history) * training.batches
    rate.plot(np.arange(steps) / training.batches, _rates(training, steps), color=_BLUE)
    rate.set(title=f"learning rate ({training.settings.schedule})", xlabel="epoch", ylim=(0, None))
    for axes in (left, right, rate):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)


def _rates(training: Run, steps: int) -> np.ndarray:
    """The learning rate of each step so far."""
    settings, of_steps = training.settings, SCHEDULES[training.settings.schedule]
    factors = np.ones(1) if of_steps is None else of_steps(settings.schedule_epochs * training.batches)
    return settings.lr * factors[np.minimum(np.arange(steps), len(factors) - 1)]


def _confusion(figure: SubFigure, counts: np.ndarray, classes: tuple[str, ...]) -> None:
    """Rows are the classes, columns what was read; numbers where they are few enough to be seen."""
    axes = figure.subplots()
    axes.imshow(np.log1p(counts), cmap="Blues")
    axes.set(title="test images by class and what was read", xlabel="read", ylabel="class")
    if len(classes) <= MOST_NAMED:
        places = range(len(classes))
        axes.set(xticks=places, yticks=places, xticklabels=classes, yticklabels=classes)
        half = np.log1p(counts.max()) / 2
        for (row, column), count in np.ndenumerate(counts):
            if count:
                color = "white" if np.log1p(count) > half else "black"
                axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=color)


def _filters(figure: SubFigure, filters: np.ndarray) -> None:
    """All filters in six rows, one colour scale for all: blue takes ink away, red adds it."""
    count, height, width = filters.shape
    columns = -(-count // _FILTER_ROWS)
    sheet = np.full((_FILTER_ROWS * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
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
    title = f"{len(wrong)} of {len(training.test)} test {training.data.noun} misread"
    if len(wrong) > MISREAD_SHOWN:
        title += f", {MISREAD_SHOWN} of them"
    figure.suptitle(title)
    row: Any = figure.subplots(1, MISREAD_SHOWN)
    for axes in row:
        axes.set_axis_off()
    shown = wrong[:MISREAD_SHOWN]
    for axes, place in zip(row[(MISREAD_SHOWN - len(shown)) // 2 :], shown, strict=False):
        image = training.test.images[place]
        shown_image = np.clip(np.moveaxis(image, 0, 2), 0, 1) if len(image) == 3 else image[0]
        axes.imshow(shown_image, cmap="gray_r")  # of colours the map is not used
        names = training.data.classes
        axes.set_title(f"{names[training.test.labels[place]]} read as {names[read[place]]}", fontsize=9)
