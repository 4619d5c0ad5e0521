"""The functions that are graded, what each is given in a question, and what the definition answers."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import definitions
from .ideas import (
    BIAS_GRADS,
    BIASES,
    CONVOLUTION,
    DILATED_POOLING,
    IDEAS,
    LINEAR,
    LINEAR_BIAS_GRADS,
    LINEAR_BIASES,
    POOLING,
    TIES,
    Question,
)

Arguments = dict[str, Any]
"""In the order of the function's signature."""


@dataclass(frozen=True)
class Graded:
    """A function by its public name: its questions, which of a question's arguments it takes, and their definition.

    forward: the definition of y, whose shape is dy's.
    """

    name: str
    questions: tuple[Question, ...]
    takes: tuple[str, ...]
    forward: Callable[..., Any]

    @property
    def definition(self) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(definitions, self.name.replace("2d", ""))
        return found

    @property
    def ideas(self) -> list[str]:
        """Those that it has questions for, in the order in which they are learned."""
        return [idea for idea in IDEAS if any(each.idea == idea for each in self.questions)]

    def options(self, question: Question) -> dict[str, Any]:
        return {} if self.takes == ("dy",) else question.options

    def arguments(self, question: Question, max_pool: Callable[..., Any] | None, series: int = 0) -> Arguments:
        """Arrays of whole numbers, which float32 sums exactly. max_pool: the forward call that gives the taps."""
        rng = np.random.default_rng([zlib.crc32(repr(question).encode()), series])
        w = _whole(rng, question.w) * rng.choice([-1, 1], question.w)
        known: Arguments = {"x": _x(question, rng), "w": w, "kernel_size": question.kernel}
        known |= {"x_shape": question.x, "w_shape": question.w}
        inputs = (known["x"], question.kernel if "pool" in self.name else known["w"])
        y = self.forward(*inputs, **question.options)
        known["dy"] = _whole(rng, (y[0] if isinstance(y, tuple) else y).shape)
        if question.bias:
            known["b"] = _whole(rng, (question.outputs,))
        if "taps" in self.takes:
            known["taps"] = _taps((max_pool or definitions.max_pool)(*inputs, **question.options))
        return {name: known[name] for name in self.takes if name in known}

    def call_text(self, question: Question) -> str:
        """The call, with shapes for arrays."""
        arguments = self.arguments(question, None)
        said = [
            f"{name} {value.shape}" if isinstance(value, np.ndarray) else f"{value}"
            for name, value in arguments.items()
        ]
        return (
            f"{self.name}({', '.join([*said, *(f'{name}={value}' for name, value in self.options(question).items())])})"
        )

    def output(self, result: Any) -> Any:
        """Of max pooling y alone is judged: what it keeps for the gradient is its own affair."""
        return result[0] if self.name == "max_pool2d" and isinstance(result, tuple) else result


def _x(question: Question, rng: np.random.Generator) -> np.ndarray:
    if question.values == "equal":
        return rng.integers(1, 3, question.x).astype(float)
    values = 1.0 + rng.permutation(int(np.prod(question.x))).reshape(question.x)
    return -values if question.values == "negative" else values


def _whole(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers from 1 to 9: none hides what it is multiplied by, and no sum of them is 0."""
    return rng.integers(1, 10, shape).astype(float)


def _taps(result: Any) -> Any:
    if not (isinstance(result, tuple) and len(result) == 2):
        raise TypeError("max_pool2d has to return (y, taps), whatever max_pool2d_grad takes for taps")
    return result[1]


def _calls(questions: tuple[Question, ...], idea: str) -> tuple[Question, ...]:
    """Those, and one for "calls" that is like the first one of `idea`."""
    return (*questions, replace(next(each for each in questions if each.idea == idea), idea="calls"))


_POSITIVE = tuple(replace(each, values="positive") for each in POOLING)  # whatever a maximum does with padding

GRADED = tuple(
    Graded(name, _calls(questions, idea), tuple(takes.split()), forward)
    for forward, idea, functions in (
        (
            definitions.conv,
            "taps",
            (
                ("conv2d", CONVOLUTION + BIASES, "x w b"),
                ("conv2d_input_grad", CONVOLUTION, "dy w x_shape"),
                ("conv2d_weight_grad", CONVOLUTION, "dy x w_shape"),
            ),
        ),
        (definitions.conv, "channels", (("conv2d_bias_grad", BIAS_GRADS, "dy"),)),
        (
            definitions.max_pool,
            "plain",
            (
                ("max_pool2d", POOLING + DILATED_POOLING, "x kernel_size"),
                ("max_pool2d_grad", _POSITIVE + DILATED_POOLING + TIES, "dy taps x_shape kernel_size"),
            ),
        ),
        (
            definitions.avg_pool,
            "plain",
            (("avg_pool2d", POOLING, "x kernel_size"), ("avg_pool2d_grad", POOLING, "dy x_shape kernel_size")),
        ),
        (
            definitions.linear,
            "channels",
            (
                ("linear", LINEAR + LINEAR_BIASES, "x w b"),
                ("linear_input_grad", LINEAR, "dy w"),
                ("linear_weight_grad", LINEAR, "dy x"),
                ("linear_bias_grad", LINEAR_BIAS_GRADS, "dy"),
            ),
        ),
    )
    for name, questions, takes in functions
)
"""In the order in which they are graded."""
