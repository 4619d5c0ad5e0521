"""Layers side by side: each takes the same input, and what they give is added up or put one behind the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from ..backend import get_array_module, on_device, quietly
from ..kernels import checks
from ..kernels.dtypes import accumulation_dtype
from ..kernels.types import A, Array
from .activation import Identity
from .base import Layer
from .container import Container, is_trained


class _Branches(Container):
    """The gradient of the shared input is the sum of the branches' gradients, added in their order."""

    def __init__(self, *branches: Layer | Mapping[str, Layer]) -> None:
        super().__init__(*branches)
        if not self.layers:
            raise ValueError(f"{type(self).__name__}: there are no branches; expected at least one")

    def _outputs(self, x: Any) -> list[Any]:
        """What the branches give, of one library and dtype."""
        outputs = {f"branch {name}": branch(x) for name, branch in self.children()}
        return checks.arrays(type(self).__name__, **outputs)

    def _expect(self, place: int, y: Any, shape: tuple[int, ...], which: str) -> None:
        if y.shape != shape:
            name, _ = list(self.children())[place]
            raise checks.value_error(
                type(self).__name__, f"the shape of what branch {name} gives", y.shape, f"{shape}, {which}"
            )

    def _input_grad(self, gradients: Sequence[Any], needs_input_grad: bool) -> Any:
        """dx where branch i gets gradients[i]."""
        found = [
            branch.backward(dy, needs_input_grad=needs_input_grad)
            for branch, dy in zip(self.layers, gradients, strict=True)
            if needs_input_grad or is_trained(branch)
        ]
        return summed(found) if needs_input_grad else None


class Add(_Branches):
    """y is the sum of what the branches give for x, added in their order; all of one shape.

    branches: one after another, or a dict of names, as for Sequential.

    Raises ValueError for no branches, or for outputs of several shapes: nothing is broadcast.
    """

    def forward(self, x: A) -> A:
        outputs = self._outputs(x)
        for place, y in enumerate(outputs):
            self._expect(place, y, outputs[0].shape, "the shape of the first branch's")
        self._keep(outputs[0].shape)
        return summed(outputs)

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        name, shape = type(self).__name__, self._kept()
        (given,) = checks.arrays(f"{name}.backward", dy=dy)
        checks.has_shape(f"{name}.backward", "dy", given, shape, "the shape of forward's output")
        return self._input_grad([given] * len(self), needs_input_grad)


class Residual(Add):
    """y = body(x) + shortcut(x) (He et al. 2016); without a shortcut y = body(x) + x.

    Raises ValueError where the two have not the same shape. Parameters are named "body...." and "shortcut....".
    """

    def __init__(self, body: Layer, shortcut: Layer | None = None) -> None:
        super().__init__({"body": body, "shortcut": Identity() if shortcut is None else shortcut})

    def _described(self) -> str:
        body, shortcut = self.layers
        return repr(body) if isinstance(shortcut, Identity) else f"{body!r}, {shortcut!r}"


class Concatenate(_Branches):
    """What the branches give for x, one behind the other along an axis: the channels, unless `axis` says another.

    branches: as for Add.

    Raises ValueError for no branches, or for outputs that differ along another axis.
    """

    def __init__(self, *branches: Layer | Mapping[str, Layer], axis: int = 1) -> None:
        self.axis = checks.integer("Concatenate", "axis", axis, 0)
        super().__init__(*branches)

    def forward(self, x: A) -> A:
        outputs, axis = self._outputs(x), self.axis
        first = outputs[0].shape
        if axis >= len(first):
            raise checks.value_error("Concatenate", "axis", axis, f"an axis of the branches' outputs {first}")
        for place, y in enumerate(outputs):
            shape = (*first[:axis], *y.shape[axis : axis + 1], *first[axis + 1 :])
            self._expect(place, y, shape, f"the shape of the first branch's beside axis {axis}")
        with on_device(outputs[0]):
            xp = get_array_module(outputs[0])
            joined: A = xp.asarray(xp.concatenate(outputs, axis), order="C")
        self._keep((joined.shape, [y.shape[axis] for y in outputs]))
        return joined

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        y_shape, extents = self._kept()
        (given,) = checks.arrays("Concatenate.backward", dy=dy)
        checks.has_shape("Concatenate.backward", "dy", given, y_shape, "the shape of forward's output")
        before = (slice(None),) * self.axis
        parts = [
            given[(*before, slice(end - extent, end))] for extent, end in zip(extents, accumulate(extents), strict=True)
        ]
        return self._input_grad(parts, needs_input_grad)

    def _described(self) -> str:
        return super()._described() + ("" if self.axis == 1 else f", axis={self.axis}")


@quietly
def summed(arrays: Sequence[Any]) -> Any:
    """The sum in the arrays' order, in C order; more than two of 16 bits are added in float32 and rounded once."""
    first, *rest = arrays
    xp = get_array_module(first)
    with on_device(first):
        total = first if len(rest) < 2 else first.astype(accumulation_dtype(first.dtype), copy=False)
        for array in rest:
            total = total + array
        return xp.asarray(total, first.dtype, order="C")
