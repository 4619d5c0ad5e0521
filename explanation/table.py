"""An explanation as an HTML table, which notebooks show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .. import _html
from ..kernels.sums import Shape
from .step import Gradient, Step


def table(description: str, input_shape: Shape, steps: Iterable[Step]) -> str:
    lines = [line for step in steps for line in _lines(step)]
    return _html.table(lines, f"Backpropagation of {description}, input {input_shape}")


def _lines(step: Step) -> Iterator[_html.Line]:
    yield _line(step.name, step.formulas.forward, step.y.shape)
    yield _line("dY", "arrives from the layer after", step.dy.shape)
    for gradient in step.gradients:
        yield _line(gradient.name, gradient.formula, gradient.shape, _measured(gradient))


def _line(name: str, formula: str, shape: Shape, measured: str = "") -> _html.Line:
    return {"": name, "formula": formula, "shape": shape, "from finite differences": measured}


def _measured(gradient: Gradient) -> str:
    verdict = f" ({gradient.verdict.value})" if gradient.verdict else ""
    return f"{gradient.measured}{verdict}" if "cannot" not in verdict else gradient.measured
