"""The shape of a fully connected layer, and the checks on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import checks
from ..checks import Pair, value_error
from ..kept import hashed_once, kept


@hashed_once
@dataclass(frozen=True)
class LinearGeometry:
    """The extents of a fully connected layer: w is (O, F); N samples along axis `batch_axis` of x and y.

    activation: what the forward operation ends with, "relu" or None.
    """

    N: int
    F: int
    O: int  # noqa: E741 - the extents' names are the field's
    batch_axis: int
    activation: str | None = None

    @classmethod
    @kept
    def of(
        cls,
        operation: str,
        batch_axis: Any,
        *,
        w_shape: Any,
        x_shape: Any = None,
        dy_shape: Any = None,
        activation: Any = None,
    ) -> LinearGeometry:
        """Check the one of x and dy that is given against w; ValueError where a shape or an option is wrong."""
        check_batch_axis(operation, batch_axis)
        o, f = checks.shape2(operation, "w.shape", w_shape, "(O, F)")
        if x_shape is not None:
            name, shape, axis, features = "x.shape", x_shape, "F", f
        else:
            name, shape, axis, features = "dy.shape", dy_shape, "O", o
        axes = f"(N, {axis})" if batch_axis == 0 else f"({axis}, N)"
        extents = checks.shape2(operation, name, shape, axes)
        if extents[1 - batch_axis] != features:
            raise value_error(operation, name, extents, f"{axes} with {axis} = {features}, from w.shape {(o, f)}")
        return cls(extents[batch_axis], f, o, batch_axis, checks.activation(operation, activation))

    @classmethod
    @kept
    def of_gradient(cls, operation: str, batch_axis: Any, dy_shape: Any, x_shape: Any) -> LinearGeometry:
        """Check dy and x against each other: they hold the same samples."""
        check_batch_axis(operation, batch_axis)
        dy_axes, x_axes = ("(N, O)", "(N, F)") if batch_axis == 0 else ("(O, N)", "(F, N)")
        dy = checks.shape2(operation, "dy.shape", dy_shape, dy_axes)
        x = checks.shape2(operation, "x.shape", x_shape, x_axes)
        if x[batch_axis] != dy[batch_axis]:
            raise value_error(operation, "x.shape", x, f"{x_axes} with N = {dy[batch_axis]}, from dy.shape {dy}")
        return cls(dy[batch_axis], x[1 - batch_axis], dy[1 - batch_axis], batch_axis)

    @classmethod
    @kept
    def of_output(cls, operation: str, batch_axis: Any, y_shape: Any) -> LinearGeometry:
        """Geometry of the layer of one feature that has this output: a bias gradient depends on nothing else."""
        check_batch_axis(operation, batch_axis)
        y = checks.shape2(operation, "dy.shape", y_shape, "(N, O)" if batch_axis == 0 else "(O, N)")
        return cls(y[batch_axis], 1, y[1 - batch_axis], batch_axis)

    @property
    def x_shape(self) -> Pair:
        return (self.N, self.F) if self.batch_axis == 0 else (self.F, self.N)

    @property
    def w_shape(self) -> Pair:
        return self.O, self.F

    @property
    def y_shape(self) -> Pair:
        return (self.N, self.O) if self.batch_axis == 0 else (self.O, self.N)

    @property
    def b_shape(self) -> tuple[int, ...]:
        return (self.O,) if self.batch_axis == 0 else (self.O, 1)

    @property
    def flops(self) -> int:
        """Floating-point operations of any one of forward, dx and dw."""
        return 2 * self.N * self.O * self.F


def check_batch_axis(operation: str, batch_axis: Any) -> None:
    if isinstance(batch_axis, bool) or batch_axis not in (0, 1):
        raise value_error(operation, "batch_axis", repr(batch_axis), "0 (samples are rows) or 1 (columns)")
