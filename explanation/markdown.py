"""An explanation as a Markdown document."""

from __future__ import annotations

from collections.abc import Iterable

from ..kernels.sums import Shape
from .finite_differences import DIRECTIONS
from .step import Gradient, Step

MEASUREMENT = (
    f"The last column is measured: along {DIRECTIONS} random directions of +1 and -1, how far the change that the "
    "gradient predicts is from a central finite difference in float64, over the gradient's 2-norm; the worst counts."
)


def document(description: str, input_shape: Shape, steps: Iterable[Step]) -> str:
    head = [
        "# Backpropagation, layer by layer",
        f"Network: `{description}`",
        f"Input: {input_shape}. The loss is L = Σ G · Y for random numbers G, so ∂L/∂Y = G at the output. "
        "In the formulas dY stands for ∂L/∂Y, and so do dW, dX and db.",
        MEASUREMENT,
    ]
    return "\n\n".join([*head, *(_layer(place, step) for place, step in enumerate(steps, 1))]) + "\n"


def _layer(place: int, step: Step) -> str:
    facts = "\n".join(f"| {label} | {text} |" for label, text in step.facts())
    gradients = "\n".join(map(_gradient, step.gradients))
    recap = f"{step.formulas.recap}\n\n" if step.formulas.recap else ""
    return (
        f"## {place}. {step.name}: `{step.layer!r}`\n\n"
        f"| | |\n|---|---|\n{facts}\n\n"
        f"{recap}Forward: `{step.formulas.forward}`\n\n"
        f"Backward: dY arrives with the shape {step.dy.shape}.\n\n"
        f"| gradient | formula | shape | from finite differences |\n|---|---|---|---|\n{gradients}"
    )


def _gradient(gradient: Gradient) -> str:
    return f"| {gradient.name} | `{gradient.formula}` | {gradient.shape} | {gradient.measured} |"
