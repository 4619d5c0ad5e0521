"""Dynamic scaling of the loss, so that float16 gradients neither vanish nor overflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .._state import Expected, checked
from ..backend import get_array_module, on_device, quietly
from ..kernels import checks
from ..kernels.dtypes import accumulation_dtype
from .optimizer import Optimizer, are_counts


class GradScaler:
    """Multiplies what backward begins with by a scale that is found on the way: a step whose gradients are not all
    finite is left out and halves the scale, and after `growth_interval` steps without one it doubles.

    All of it is decided on the device; nothing waits. A step left out counts nothing: not Adam's count, not the
    schedule.

        net.backward(scaler.scale(loss.backward()))
        scaler.unscale(optimizer)              # only where gradients are clipped, or looked at by gradient_norm
        clip_grad_norm(optimizer, 1.0)
        scaler.step(optimizer)                 # in the place of optimizer.step()
        scaler.update()

    The protocol and the numbers of torch.amp.GradScaler. Raises ValueError for numbers out of range.
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
    ) -> None:
        for name, value, accepted, expected in (
            ("init_scale", init_scale, 0 < init_scale < np.inf, "a finite number > 0"),
            ("growth_factor", growth_factor, 1 < growth_factor < np.inf, "a finite number > 1"),
            ("backoff_factor", backoff_factor, 0 < backoff_factor < 1, "a number between 0 and 1"),
        ):
            if not accepted:
                raise checks.value_error("GradScaler", name, value, expected)
        self.growth_factor, self.backoff_factor = growth_factor, backoff_factor
        self.growth_interval = checks.integer("GradScaler", "growth_interval", growth_interval, 1)
        self._scale: Any = np.full((), init_scale, np.float32)
        self._good_steps: Any = np.zeros((), np.int64)
        self._overflow: Any = np.zeros((), np.bool_)
        self._unscaled: set[int] = set()

    @property
    def loss_scale(self) -> float:
        """The scale at present; on CuPy, reading it waits for the device."""
        return float(self._scale)

    @quietly
    def scale(self, gradient: Any) -> Any:
        """The gradient that backward is to begin with, times the scale."""
        xp = self._move_to(gradient)
        with on_device(gradient):
            wide = gradient.astype(accumulation_dtype(gradient.dtype), copy=False)
            return (wide * xp.asarray(self._scale).astype(wide.dtype)).astype(gradient.dtype, copy=False)

    @quietly
    def unscale(self, optimizer: Optimizer) -> None:
        """Let the next step divide the gradients by the scale, or be left out where they are not all finite.

        RuntimeError where it has been called since update() for this optimizer.
        """
        if id(optimizer) in self._unscaled:
            raise RuntimeError("GradScaler: unscale was called twice for an optimizer; expected once before update()")
        self._unscaled.add(id(optimizer))
        norm = optimizer.gradient_norm()
        xp = self._move_to(norm)
        with on_device(norm):
            overflow = ~xp.isfinite(norm)
            optimizer.skip_step(overflow)
            optimizer.scale_gradients(1 / xp.asarray(self._scale).astype(np.float64))
        with on_device(self._overflow):
            self._overflow |= xp.asarray(overflow)

    def step(self, optimizer: Optimizer) -> None:
        """The optimizer's step, on gradients without the scale."""
        if id(optimizer) not in self._unscaled:
            self.unscale(optimizer)
        optimizer.step()

    @quietly
    def update(self) -> None:
        """Once all optimizers had their step: choose the scale for what comes next."""
        xp = get_array_module(self._scale)
        with on_device(self._scale):
            grown = self._scale * self.growth_factor
            due = (self._good_steps + 1 >= self.growth_interval) & xp.isfinite(grown)
            kept = xp.where(due, grown, self._scale)
            self._scale[...] = xp.where(self._overflow, self._scale * self.backoff_factor, kept)
            self._good_steps[...] = xp.where(self._overflow | due, 0, self._good_steps + 1)
            self._overflow.fill(False)
        self._unscaled.clear()

    def _move_to(self, array: Any) -> Any:
        """The library of this array, to which the scaler's own arrays are moved at their first use."""
        xp = get_array_module(array)
        if get_array_module(self._scale) is not xp:
            with on_device(array):
                self._scale, self._good_steps, self._overflow = map(
                    xp.asarray, (self._scale, self._good_steps, self._overflow)
                )
        return xp

    def state_dict(self) -> dict[str, Any]:
        """Copies of what a resumed run needs."""
        with on_device(self._scale):
            return {"scale": self._scale.copy(), "good_steps": self._good_steps.copy()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, arrays of any library. ValueError lists all that is wrong, and changes nothing."""
        scale = Expected(((),), np.dtype(np.float32), "a number above 0", lambda a: bool(0 < a < np.inf))
        steps = Expected(((),), np.dtype(np.int64), "a whole number of at least 0", are_counts)
        found = checked("GradScaler", {"scale": scale, "good_steps": steps}, state)
        with on_device(self._scale):
            self._scale.fill(found["scale"].item())
            self._good_steps.fill(found["good_steps"].item())
