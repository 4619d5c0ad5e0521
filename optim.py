"""Optimizers: they change parameters in place, by PyTorch's rules, and never wait for a device.

16-bit parameters are updated through float32, in which the optimizer's own arrays are kept too. What changes from step
to step (the step count, lr and all that depends on them) is in arrays, so that a captured step (backstride.capture)
counts on and follows lr; the other numbers are fixed when the optimizer is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ._state import Expected, checked
from .backend import get_array_module, is_capturing, on_device, plain, quietly
from .kernels import checks
from .kernels.dtypes import accumulation_dtype
from .layers import Parameter


class Optimizer:
    """Holds parameters; `step()` moves them against their `grad`. `lr` may be changed between steps.

    Raises ValueError for no parameters, a parameter given twice, or a number out of range, and RuntimeError where lr
    is set inside a captured step, which would freeze it.
    """

    _slots: tuple[str, ...] = ()
    """The arrays kept for every parameter."""

    def __init__(self, parameters: Iterable[Parameter], lr: float) -> None:
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError(f"{type(self).__name__}: parameters is empty; expected at least one Parameter")
        if len({id(p) for p in self.parameters}) != len(self.parameters):
            raise ValueError(f"{type(self).__name__}: parameters holds one twice; expected each once")
        first = self.parameters[0].data
        xp = get_array_module(first)
        with on_device(first):
            self._count = xp.zeros((), np.int64)
            self._rate = xp.zeros((), np.float64)
        self.lr = lr
        self._state = [{slot: _accumulator(p) for slot in self._slots} for p in self.parameters]

    @property
    def lr(self) -> float:
        """The learning rate of the steps to come."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        _at_least_0(self, "lr", value)
        with on_device(self._rate):
            if is_capturing(self._rate):
                raise RuntimeError(
                    f"{type(self).__name__}: lr is set in a captured step; expected it between the calls"
                )
            self._lr = value
            self._rate.fill(value)

    @property
    def steps(self) -> int:
        """The steps taken so far; on CuPy, reading it waits for the device."""
        return int(self._count)

    @steps.setter
    def steps(self, value: int) -> None:
        with on_device(self._count):
            self._count.fill(value)

    @quietly
    def step(self) -> None:
        """Update every parameter once; those are passed over that are frozen or have had no gradient."""
        with on_device(self._count):
            self._count += 1
            factors = self._factors()
        for parameter, state in zip(self.parameters, self._state, strict=True):
            if parameter.grad is None or not parameter.requires_grad:
                continue
            with on_device(parameter.data):
                self._update(parameter, state, factors)

    def _update(self, parameter: Parameter, state: dict[str, Any], factors: dict[str, Any]) -> None:
        data, dtype = parameter.data, accumulation_dtype(parameter.data.dtype)
        xp = get_array_module(data)
        here = {name: xp.asarray(factor, dtype) for name, factor in factors.items()}
        wide = data.astype(dtype, copy=False)
        wide -= self._change(wide, plain(parameter.grad).astype(dtype, copy=False), state, here)
        if wide is not data:
            data[...] = wide

    def _factors(self) -> dict[str, Any]:
        """What this step multiplies by and another may not: float64 arrays without axes."""
        raise NotImplementedError

    def _change(self, data: Any, gradient: Any, state: dict[str, Any], factors: dict[str, Any]) -> Any:
        """What is subtracted from `data`; updates `state` in place and changes neither `data` nor `gradient`."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Set every gradient to 0."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Copies of what a resumed run needs: "steps", and "0.momentum" and the like by the parameter's place."""
        state = {}
        for name, array in [("steps", self._count), *self._named_arrays()]:
            with on_device(array):
                state[name] = array.copy()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, arrays of any library. ValueError lists all that is wrong, and changes nothing."""
        found = self.check_state_dict(state)
        self.steps = int(found["steps"])
        for name, array in self._named_arrays():
            with on_device(array):
                array[...] = get_array_module(array).asarray(found[name])

    def check_state_dict(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of `state` as NumPy arrays, without loading them. Raises as load_state_dict."""
        expected = {"steps": Expected(((),), np.dtype(np.int64), "a whole number of at least 0", _is_count)}
        for name, array in self._named_arrays():
            expected[name] = Expected((array.shape,), array.dtype)
            if name.endswith(".square"):
                expected[name] = Expected((array.shape,), array.dtype, "no number below 0", _none_below_0)
        return checked(type(self).__name__, expected, state)

    def _named_arrays(self) -> Iterable[tuple[str, Any]]:
        for place, state in enumerate(self._state):
            for slot, array in state.items():
                yield f"{place}.{slot}", array


class SGD(Optimizer):
    """Gradient descent: g = grad + weight_decay*w; v = momentum*v + (1-dampening)*g (v = g at the first step);
    w -= lr*v, or with nesterov w -= lr*(g + momentum*v).

    The rule of torch.optim.SGD. Nesterov needs a momentum and no dampening (ValueError otherwise).
    """

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        self.momentum = _at_least_0(self, "momentum", momentum)
        self.dampening = dampening
        self.weight_decay = _at_least_0(self, "weight_decay", weight_decay)
        self.nesterov = nesterov
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError("SGD: nesterov is True; expected a momentum above 0 and dampening 0 with it")
        self._slots = ("momentum",) if momentum else ()
        super().__init__(parameters, lr)

    def _factors(self) -> dict[str, Any]:
        """lr, and with dampening the share of the gradient that the velocity takes up."""
        if not (self.momentum and self.dampening):
            return {"lr": self._rate}
        return {"lr": self._rate, "fresh": 1 - self.dampening * (self._count > 1)}

    def _change(self, data: Any, gradient: Any, state: dict[str, Any], factors: dict[str, Any]) -> Any:
        lr = factors["lr"]
        if self.weight_decay:
            gradient = gradient + self.weight_decay * data
        if not self.momentum:
            return lr * gradient
        velocity = state["momentum"]
        velocity *= self.momentum
        velocity += factors["fresh"] * gradient if "fresh" in factors else gradient
        return lr * (gradient + self.momentum * velocity if self.nesterov else velocity)


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015): m and v are running means of g and g², with g = grad + weight_decay*w;
    w -= lr * m/(1-beta1^t) / (sqrt(v/(1-beta2^t)) + eps).

    The rule of torch.optim.Adam.
    """

    _slots = ("mean", "square")

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.betas = betas[0], betas[1]  # of what may be a list that changes
        for place, beta in enumerate(self.betas):
            if not 0 <= beta < 1:
                raise checks.value_error(type(self).__name__, f"betas[{place}]", beta, "0 <= beta < 1")
        self.eps = _at_least_0(self, "eps", eps)
        self.weight_decay = _at_least_0(self, "weight_decay", weight_decay)
        super().__init__(parameters, lr)

    def _factors(self) -> dict[str, Any]:
        """lr/(1-beta1^t) and 1/sqrt(1-beta2^t)."""
        beta1, beta2 = self.betas
        return {"rate": self._rate / (1 - beta1**self._count), "unbias": (1 - beta2**self._count) ** -0.5}

    def _change(self, data: Any, gradient: Any, state: dict[str, Any], factors: dict[str, Any]) -> Any:
        if self.weight_decay:
            gradient = gradient + self.weight_decay * data
        return self._adam(gradient, state, factors)

    def _adam(self, gradient: Any, state: dict[str, Any], factors: dict[str, Any]) -> Any:
        (beta1, beta2), mean, square = self.betas, state["mean"], state["square"]
        mean *= beta1
        mean += (1 - beta1) * gradient
        square *= beta2
        square += (1 - beta2) * gradient * gradient
        root = get_array_module(square).sqrt(square)
        root *= factors["unbias"]
        root += self.eps
        return factors["rate"] * mean / root


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): lr*weight_decay*w is subtracted besides, and g
    is the gradient alone. The rule of torch.optim.AdamW."""

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def _factors(self) -> dict[str, Any]:
        return {**super()._factors(), "decay": self._rate * self.weight_decay}

    def _change(self, data: Any, gradient: Any, state: dict[str, Any], factors: dict[str, Any]) -> Any:
        change = self._adam(gradient, state, factors)
        # PyTorch decays w first and then subtracts Adam's step; the sum of both is the same
        change += factors["decay"] * data
        return change


def _accumulator(parameter: Parameter) -> Any:
    data = parameter.data
    with on_device(data):
        return get_array_module(data).zeros(data.shape, accumulation_dtype(data.dtype))


def _is_count(steps: np.ndarray) -> bool:
    return bool(0 <= steps < 2**63 and steps == np.floor(steps))


def _none_below_0(array: np.ndarray) -> bool:
    return not (array < 0).any()


def _at_least_0(optimizer: Optimizer, argument: str, value: float) -> float:
    if not value >= 0:
        raise checks.value_error(type(optimizer).__name__, argument, value, "a number >= 0")
    return value
