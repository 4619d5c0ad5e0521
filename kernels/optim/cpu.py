"""Steps and norms on NumPy arrays, in pieces that stay in a cache from one operation of a rule to the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...backend import quietly
from .rules import Rule
from .tensors import LANES, PIECE, Control, Tensor, by_kind

_CACHED = 2**15  # elements of each array
_PIECES = 64  # squared at a time


class Updates:
    """The steps of one rule. Parameters whose data lies in any strides are copied there and back."""

    def __init__(self, rule: Rule, control: Control) -> None:
        self.rule, self.control = rule, control

    @quietly
    def step(self, tensors: Sequence[Tensor]) -> None:
        """Update every tensor once, unless this step is to be left out."""
        control = self.control
        scale, skip = float(control.scale), bool(control.skip)
        control.scale[...], control.skip[...] = 1, False
        if skip:
            return
        factor = control.schedule[min(int(control.steps), len(control.schedule) - 1)]
        control.steps[...] += 1
        for tensor in tensors:
            control.counts[tensor.number] += 1
            lr, count = control.rates[tensor.group] * factor, control.counts[tensor.number]
            self._update(tensor, scale, self.rule.factors(tensor.options, float(lr), int(count)))

    def _update(self, tensor: Tensor, scale: float, factors: Mapping[str, float]) -> None:
        data, grad = tensor.data.ravel(), tensor.grad.ravel()
        state = [array.ravel() for array in tensor.state.values()]
        wide = data if tensor.master is None else tensor.master.ravel()
        for start in range(0, data.size, _CACHED):
            part = slice(start, start + _CACHED)
            w = wide[part]
            if wide is not data:
                _follow(w, data[part])
            g = grad[part].astype(w.dtype)
            g *= scale
            self.rule.update(w, g, [array[part] for array in state], factors)
            if wide is not data:
                data[part] = w
        if not tensor.data.flags.c_contiguous:
            tensor.data[...] = data.reshape(tensor.data.shape)

    @quietly
    def square_sum(self, tensors: Sequence[Tensor]) -> np.ndarray:
        """The sum of all squares of their gradients, in float64."""
        sums = [part for same in by_kind(tensors).values() for t in same for part in square_sums(t.grad)]
        return np.asarray(folded(np.concatenate(sums) if sums else np.zeros(0)))


def _follow(master: np.ndarray, data: np.ndarray) -> None:
    """Where `data` is not `master` rounded, somebody has changed it, and the master follows."""
    changed = master.astype(data.dtype).view(np.uint16) != data.view(np.uint16)
    np.copyto(master, data, where=changed, casting="unsafe")


def square_sums(gradient: np.ndarray) -> Iterable[np.ndarray]:
    """The sums of the squares of each PIECE elements, as a block of threads adds them."""
    flat = gradient.ravel()
    for start in range(0, flat.size, _PIECES * PIECE):
        squares = flat[start : start + _PIECES * PIECE].astype(np.float64)
        squares *= squares
        whole = np.zeros((-(-squares.size // PIECE), PIECE // LANES, LANES))
        whole.reshape(-1)[: squares.size] = squares
        yield _halved(np.add.reduce(whole, axis=1))


def folded(sums: np.ndarray) -> np.ndarray:
    """The sum of sums, as one block of threads adds them."""
    whole = np.zeros((-(-sums.size // LANES), LANES))
    whole.reshape(-1)[: sums.size] = sums
    folded: np.ndarray = _halved(np.add.reduce(whole, axis=0))
    return folded


def _halved(lanes: np.ndarray) -> np.ndarray:
    """The sums over the last axis: its second half is added to the first until one element is left."""
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]
