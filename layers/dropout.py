"""Dropout."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import get_array_module, on_device, to_numpy
from ..kernels import checks, dropout
from ..kernels.dropout.geometry import WORDS, DropoutGeometry, check_probability
from ..kernels.types import A, Array
from .base import Layer
from .shard import current_shard


class Dropout(Layer):
    """In training y = 0 with probability p, else x / (1 - p) (Srivastava et al. 2014); in evaluation y = x.

    rng: a numpy Generator or a seed, of which the layer draws the key of its own generator, Philox4x32-10; None draws a
    fresh one. The same key gives the same masks on every backend, one after another with each forward, in a captured
    step too. Masks are not kept but drawn again in backward.
    """

    operation = "dropout"

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | int | None = None) -> None:
        self.p = check_probability("Dropout", p)
        self.seed = int(np.random.default_rng(rng).integers(2**64, dtype=np.uint64))
        """The key of the layer's generator."""
        self._position: Any = np.zeros(WORDS, np.uint32)

    @property
    def position(self) -> tuple[int, int, int]:
        """Where the generator stands: the number of the next call, of the shard and of the step. Reading it waits for
        the device; a checkpoint keeps it. In a shard of backstride.distributed the masks are those of (call in the
        shard, shard, step), and this stays as it is."""
        call, shard, step = map(int, to_numpy(self._position))
        return call, shard, step

    @position.setter
    def position(self, position: tuple[int, int, int]) -> None:
        self._position = np.array(position, np.uint32)

    def forward(self, x: A) -> A:
        (x,) = checks.arrays("Dropout", x=x)
        if not self.training:
            self._keep((x.shape, None))
            return x
        with on_device(x):
            position = self._next(x)
        y = dropout(x, position, p=self.p, seed=self.seed)
        self._keep((x.shape, position))
        return y

    def _next(self, x: Any) -> Any:
        """The position of this call beside x, which stays what it is, as the layer's own goes on."""
        shard = current_shard()
        if shard is not None:
            return get_array_module(x).asarray(np.array([shard.call(self), shard.number, shard.step], np.uint32))
        if self._position.device != x.device:
            self._position = get_array_module(x).asarray(to_numpy(self._position))
        position = self._position.copy()
        self._position[:1] += 1
        return position

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        x_shape, position = self._kept()
        (given,) = checks.arrays("Dropout.backward", dy=dy)
        checks.has_shape("Dropout.backward", "dy", given, x_shape, "the shape of forward's output")
        if not needs_input_grad or position is None:
            return given if needs_input_grad else None
        return dropout(given, position, p=self.p, seed=self.seed)

    def geometry(self, x_shape: tuple[int, ...]) -> DropoutGeometry:
        return DropoutGeometry.of(self.operation, x_shape, p=self.p, seed=self.seed)

    def __repr__(self) -> str:
        return f"Dropout({self.p})"
