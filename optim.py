"""Optimizers: they change parameters in place, by PyTorch's rules, and never wait for a device.

16-bit parameters are updated through float32, in which the optimizer's own arrays are kept too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from .backend import get_array_module
from .kernels import checks
from .layers import Parameter
from .state import Shape, checked


class Optimizer:
    """Holds parameters; `step()` moves them against their `grad`. `lr` may be changed between steps.

    Raises ValueError for no parameters, a parameter given twice, or a number out of range.
    """

    _slots: tuple[str, ...] = ()
    """The arrays kept for every parameter."""

    def __init__(self, parameters: Iterable[Parameter], lr: float) -> None:
        self.parameters = list(parameters)
        self.lr = _at_least_0(self, "lr", lr)
        if not self.parameters:
            raise ValueError(f"{type(self).__name__}: parameters is empty; expected at least one Parameter")
        if len({id(p) for p in self.parameters}) != len(self.parameters):
            raise ValueError(f"{type(self).__name__}: parameters holds one twice; expected each once")
        self.steps = 0
        self._state = [{slot: _accumulator(p) for slot in self._slots} for p in self.parameters]

    def step(self) -> None:
        """Update every parameter once."""
        self.steps += 1
        for parameter, state in zip(self.parameters, self._state, strict=True):
            data = parameter.data
            accumulation = checks.accumulation_dtype(data.dtype)
            change = self._change(
                data.astype(accumulation, copy=False), parameter.grad.astype(accumulation, copy=False), state
            )
            data -= change.astype(data.dtype, copy=False)

    def _change(self, data: Any, gradient: Any, state: dict[str, Any]) -> Any:
        """What is subtracted from `data`; updates `state` in place and changes neither `data` nor `gradient`."""
        raise NotImplementedError

    def zero_grad(self) -> None:
        """Set every gradient to 0."""
        for parameter in self.parameters:
            parameter.grad.fill(0)

    def state_dict(self) -> dict[str, Any]:
        """Copies of what a resumed run needs: "steps", and "0.momentum" and the like by the parameter's place."""
        arrays = {name: array.copy() for name, array in self._named_arrays()}
        return {"steps": get_array_module(self.parameters[0].data).asarray(self.steps), **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`, arrays of any library. ValueError lists all that is wrong, and changes nothing."""
        found = self.check_state_dict(state)
        self.steps = int(found["steps"])
        for name, array in self._named_arrays():
            array[...] = get_array_module(array).asarray(found[name])

    def check_state_dict(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The entries of `state` as NumPy arrays, without loading them. Raises as load_state_dict."""
        shapes: dict[str, tuple[Shape, ...]] = {"steps": ((),)}
        shapes |= {name: (array.shape,) for name, array in self._named_arrays()}
        return checked(type(self).__name__, shapes, state)

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

    def _change(self, data: Any, gradient: Any, state: dict[str, Any]) -> Any:
        if self.weight_decay:
            gradient = gradient + self.weight_decay * data
        if not self.momentum:
            return self.lr * gradient
        velocity = state["momentum"]
        velocity *= self.momentum
        velocity += gradient if self.steps == 1 else (1 - self.dampening) * gradient
        return self.lr * (gradient + self.momentum * velocity if self.nesterov else velocity)


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
        for place, beta in enumerate(betas):
            if not 0 <= beta < 1:
                raise checks.value_error(type(self).__name__, f"betas[{place}]", beta, "0 <= beta < 1")
        self.betas = betas
        self.eps = _at_least_0(self, "eps", eps)
        self.weight_decay = _at_least_0(self, "weight_decay", weight_decay)
        super().__init__(parameters, lr)

    def _change(self, data: Any, gradient: Any, state: dict[str, Any]) -> Any:
        if self.weight_decay:
            gradient = gradient + self.weight_decay * data
        return self._adam(gradient, state)

    def _adam(self, gradient: Any, state: dict[str, Any]) -> Any:
        (beta1, beta2), mean, square = self.betas, state["mean"], state["square"]
        mean *= beta1
        mean += (1 - beta1) * gradient
        square *= beta2
        square += (1 - beta2) * gradient * gradient
        root = get_array_module(square).sqrt(square)
        root *= 1 / math.sqrt(1 - beta2**self.steps)
        root += self.eps
        return (self.lr / (1 - beta1**self.steps)) * mean / root


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

    def _change(self, data: Any, gradient: Any, state: dict[str, Any]) -> Any:
        decay = self.lr * self.weight_decay
        change = self._adam(gradient, state)
        # PyTorch decays w first and then subtracts Adam's step; the sum of both is the same
        change += decay * data
        return change


def _accumulator(parameter: Parameter) -> Any:
    data = parameter.data
    return get_array_module(data).zeros(data.shape, checks.accumulation_dtype(data.dtype))


def _at_least_0(optimizer: Optimizer, argument: str, value: float) -> float:
    if not value >= 0:
        raise checks.value_error(type(optimizer).__name__, argument, value, "a number >= 0")
    return value
