"""What there is to understand about convolution, pooling and linear, and the smallest calls that need each idea."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from .. import definitions

IDEAS = {
    "plain": "the operation itself, on the smallest input",
    "taps": "tap (r, s) meets x[p*stride + r, q*stride + s]: the kernel is not turned round; dw sums over windows",
    "channels": "a convolution sums over all input channels, and w and dw have the axes (K, C, R, S), linear's (O, F); "
    "a pooling keeps channels apart",
    "batch": "every image by itself; the gradient of a parameter is the sum over them, not the mean",
    "empty batch": "a batch of no images gives outputs of none, and 0 as gradient of a parameter",
    "bias": "one b for each output channel; its gradient is the sum of dy over batch and space, not the mean",
    "images": "the output's height comes from the height, its width from the width",
    "stride": "windows start stride elements apart; a pooling's stride is its kernel size only where none is given",
    "unreached rows": "rows and columns that no window reaches get a gradient of 0: dx is as large as x",
    "overlapping windows": "an element under several windows gets the sum of their gradients",
    "rectangular kernels": "a kernel's height and width are two numbers, in the divisor of an average too",
    "padding": "zeros around the input, which an average counts; a maximum never takes one: its padding is -infinity",
    "dilation": "taps lie dilation elements apart, forward and backward",
    "axes": "stride, padding and dilation are an int for both axes, or an (h, w) pair",
    "ties": "of equal values the first, row by row, is the maximum, and it alone gets the gradient",
    "together": "all of it in one call",
    "calls": "a call leaves nothing behind: no sums of the call before; inputs and earlier results as they were",
}
"""Name -> what a student who lacks it reads."""


@dataclass(frozen=True)
class Question:
    """Shapes and options that need `idea`, and those that it rests on, and no other.

    x: (N, C, H, W), or (N, F). outputs: K, or O. kernel: None for linear. windows_apart: the stride that none means.
    values: of x: "positive" and "negative" ones all differ, in "equal" ones there are ties. bias: whether b is given.
    """

    idea: str
    x: tuple[int, ...]
    kernel: int | tuple[int, int] | None = None
    outputs: int = 1
    options: dict[str, Any] = field(default_factory=dict)
    windows_apart: int | tuple[int, int] = 1
    values: str = "positive"
    bias: bool = False

    @property
    def w(self) -> tuple[int, ...]:
        return (self.outputs, *self.x[1:]) if self.kernel is None else (self.outputs, self.x[1], *_pair(self.kernel))

    @cached_property
    def rests_on(self) -> set[str]:
        """The other ideas that a right answer takes."""
        if self.idea == "plain":
            return set()
        used = {"plain"} | {name for name in ("stride", "padding", "dilation") if name in self.options}
        if any(isinstance(value, tuple) for value in self.options.values()):
            used |= {"axes", "images"}
        if self.x[0] == 0:
            used |= {"batch", "bias"}
        if self.x[0] > 1:
            used.add("batch")
        if max(self.x[1], self.outputs) > 1:
            used.add("channels")
        return (used if self.kernel is None else used | self._of_windows()) - {self.idea}

    def _of_windows(self) -> set[str]:
        used = set()
        (height, width), kernel = self.x[2:], _pair(self.kernel)
        if height != width:
            used.add("images")
        if max(kernel) > 1:
            used.add("taps")
        if kernel[0] != kernel[1]:
            used.add("rectangular kernels")
        image, w, options = (
            (1, 1, height, width),
            np.ones((1, 1, *kernel)),
            {"stride": self.windows_apart} | self.options,
        )
        y = definitions.conv(np.ones(image), w, **options)
        windows = definitions.conv_input_grad(np.ones_like(y), w, image, **options)[0, 0]  # how many reach an element
        if windows.max() > 1:
            used.add("overlapping windows")
        if not (windows.any(0).all() and windows.any(1).all()):
            used.add("unreached rows")
        return used


def _pair(kernel: Any) -> tuple[int, int]:
    return kernel if isinstance(kernel, tuple) else (kernel, kernel)


def _convolved(idea: str, x: tuple[int, ...], kernel: Any = 1, outputs: int = 1, **options: Any) -> Question:
    return Question(idea, x, kernel, outputs, options)


def _pooled(idea: str, x: tuple[int, ...], kernel: Any = 2, values: str = "positive", **options: Any) -> Question:
    return Question(idea, x, kernel, 1, options, kernel, values)


CONVOLUTION = (
    _convolved("plain", (1, 1, 3, 3)),
    _convolved("taps", (1, 1, 2, 2), 2),
    _convolved("channels", (1, 3, 1, 1), outputs=2),
    _convolved("channels", (1, 2, 2, 2), outputs=2),
    _convolved("batch", (3, 1, 2, 2)),
    _convolved("empty batch", (0, 1, 3, 3)),
    _convolved("images", (1, 1, 3, 5)),
    _convolved("images", (1, 1, 4, 2)),
    _convolved("rectangular kernels", (1, 1, 3, 2), (3, 2)),
    _convolved("rectangular kernels", (1, 1, 2, 4), (2, 4)),
    _convolved("stride", (1, 1, 4, 4), 2, stride=2),
    _convolved("overlapping windows", (1, 1, 4, 4), 2),
    _convolved("overlapping windows", (1, 1, 5, 5), 3, stride=2),
    _convolved("unreached rows", (1, 1, 5, 5), 2, stride=2),
    _convolved("unreached rows", (1, 1, 5, 5), 2, stride=3),
    _convolved("padding", (1, 1, 2, 2), padding=1),
    _convolved("padding", (1, 1, 3, 3), 3, padding=1),
    _convolved("dilation", (1, 1, 3, 3), 2, dilation=2),
    _convolved("dilation", (1, 1, 5, 5), 2, dilation=3),
    _convolved("axes", (1, 1, 6, 6), 2, stride=(2, 1), padding=(0, 1), dilation=(1, 2)),
    _convolved("together", (2, 3, 7, 6), (3, 2), 4, stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    _convolved("together", (10, 3, 29, 28), (3, 2), 2, stride=2),
)
POOLING = (
    _pooled("plain", (1, 1, 2, 2)),
    _pooled("channels", (1, 3, 2, 2)),
    _pooled("batch", (3, 1, 2, 2)),
    _pooled("empty batch", (0, 1, 2, 2)),
    _pooled("images", (1, 1, 2, 6)),
    _pooled("images", (1, 1, 4, 2)),
    _pooled("rectangular kernels", (1, 1, 3, 2), (3, 2)),
    _pooled("rectangular kernels", (1, 1, 2, 4), (2, 4)),
    _pooled("unreached rows", (1, 1, 3, 3)),
    _pooled("stride", (1, 1, 5, 5), stride=3),
    _pooled("overlapping windows", (1, 1, 3, 3), stride=1),
    _pooled("overlapping windows", (1, 1, 5, 5), 3, stride=2),
    _pooled("padding", (1, 1, 2, 2), values="negative", padding=1),
    _pooled("axes", (1, 1, 6, 6), stride=(1, 2), padding=(0, 1)),
    _pooled("together", (2, 3, 7, 5), (3, 2), stride=(2, 1), padding=(1, 0)),
    _pooled("together", (10, 2, 14, 14), stride=3),
)
DILATED_POOLING = (
    _pooled("dilation", (1, 1, 3, 3), dilation=2),
    _pooled("dilation", (1, 1, 5, 5), stride=1, dilation=3),
)
TIES = (_pooled("ties", (1, 1, 2, 2), values="equal"), _pooled("ties", (1, 1, 4, 4), values="equal"))
LINEAR = (
    Question("plain", (1, 1)),
    Question("channels", (1, 3), outputs=2),
    Question("channels", (1, 3), outputs=3),
    Question("batch", (4, 1)),
    Question("empty batch", (0, 3), outputs=2),
    Question("together", (5, 3), outputs=2),
)
BIASES = (
    Question("bias", (1, 1, 2, 2), 1, outputs=2, bias=True),
    Question("bias", (3, 1, 2, 4), 1, outputs=4, bias=True),
)
LINEAR_BIASES = (Question("bias", (1, 1), outputs=2, bias=True), Question("bias", (3, 2), outputs=3, bias=True))
BIAS_GRADS = (
    _convolved("plain", (1, 1, 1, 1)),
    _convolved("channels", (1, 1, 1, 1), outputs=3),
    _convolved("empty batch", (0, 1, 2, 2), outputs=3),
    _convolved("bias", (3, 1, 1, 1)),
    _convolved("bias", (1, 1, 2, 3)),
    _convolved("bias", (3, 1, 2, 3), outputs=2),
)
LINEAR_BIAS_GRADS = (
    Question("plain", (1, 1)),
    Question("channels", (1, 1), outputs=3),
    Question("empty batch", (0, 1), outputs=3),
    Question("bias", (4, 1)),
    Question("bias", (4, 1), outputs=3),
)
