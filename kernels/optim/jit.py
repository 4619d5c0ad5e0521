"""Steps and norms on NumPy arrays, each parameter in one compiled pass; arrays of 16 bits, of two dtypes or in other
than C order go as on the plain page. The bits are those of that page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...backend import quietly
from ..jit.blocks import over_blocks
from ..jit.compiled import allocating, compiled, contiguous, suits
from ..jit.elements import PART, WORTH, over_elements
from . import cpu
from .rules import ADAM, SGD, Rule
from .tensors import LANES, PIECE, Tensor, by_kind


class Updates(cpu.Updates):
    def _update(self, tensor: Tensor, scale: float, factors: Mapping[str, float]) -> None:
        arrays = [tensor.grad, *tensor.state.values(), tensor.data]
        one_kind = all(a.dtype == tensor.data.dtype and a.flags.c_contiguous for a in arrays)
        if self.rule not in _LOOPS or not one_kind or not suits(tensor.data):
            super()._update(tensor, scale, factors)
            return
        loop, names = _LOOPS[self.rule]
        grad, *state, data = arrays
        kept = state or [data]
        numbers = map(data.dtype.type, (scale, *(factors[name] for name in names)))
        over_elements(loop, (grad, *kept), data, *numbers)

    @quietly
    def square_sum(self, tensors: Sequence[Tensor]) -> np.ndarray:
        sums = [part for same in by_kind(tensors).values() for t in same for part in _square_sums(t.grad)]
        return np.asarray(cpu.folded(np.concatenate(sums) if sums else np.zeros(0)))


def _square_sums(gradient: np.ndarray) -> Any:
    if not suits(gradient) or not gradient.flags.c_contiguous:
        return cpu.square_sums(gradient)
    (line,) = contiguous(gradient.reshape(-1))
    sums = np.empty(-(-line.size // PIECE))
    many = PART // PIECE

    def work(low: int, high: int) -> None:
        _squares(line[low * many * PIECE : high * many * PIECE], sums[low * many : high * many])

    over_blocks(work, -(-sums.size // many), line.size // WORTH, line.dtype)
    return [sums]


@compiled
def _sgd(grad, velocity, w, scale, lr, momentum, fresh, weight_decay, nesterov):
    for i in range(w.size):
        g = grad[i] * scale
        if weight_decay != 0:
            g += weight_decay * w[i]
        change = g
        if momentum != 0:
            velocity[i] = velocity[i] * momentum + fresh * g
            change = g + momentum * velocity[i] if nesterov != 0 else velocity[i]
        w[i] -= lr * change


@compiled
def _adam(grad, mean, square, w, scale, rate, beta1, fresh1, beta2, fresh2, unbias, eps, weight_decay, decay):
    for i in range(w.size):
        g = grad[i] * scale
        if weight_decay != 0:
            g += weight_decay * w[i]
        mean[i] = mean[i] * beta1 + fresh1 * g
        square[i] = square[i] * beta2 + fresh2 * g * g
        change = rate * mean[i] / (np.sqrt(square[i]) * unbias + eps)
        if decay != 0:
            change += decay * w[i]
        w[i] -= change


@allocating
def _squares(line, sums):
    """Of each PIECE elements, as the plain page adds them."""
    for p in range(sums.size):
        lanes = np.zeros(LANES)
        piece = line[p * PIECE : (p + 1) * PIECE]
        for first in range(0, piece.size, LANES):
            row = piece[first : first + LANES]
            for lane in range(row.size):
                lanes[lane] += np.float64(row[lane]) * np.float64(row[lane])
        half = LANES // 2
        while half:
            for lane in range(half):
                lanes[lane] += lanes[lane + half]
            half //= 2
        sums[p] = lanes[0]


_LOOPS: dict[Rule, tuple[Callable[..., None], tuple[str, ...]]] = {
    SGD: (_sgd, ("lr", "momentum", "fresh", "weight_decay", "nesterov")),
    ADAM: (_adam, ("rate", "beta1", "fresh1", "beta2", "fresh2", "unbias", "eps", "weight_decay", "decay")),
}
"""For each rule its loop, and the factors that it takes."""
