"""What every layer has: parameters with gradients, modes, state_dict, and what forward keeps for backward."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .._state import Expected, checked
from ..backend import asarray, get_array_module, on_device, plain, quietly, use_backend
from ..kernels import checks, dtypes
from ..kernels.types import A, Array

SECOND_BACKWARD = "backward was called a second time; each forward allows one backward"


class Used:
    """In the place of what forward has kept once backward has had it. A class, which stays itself in copies."""


class Parameter:
    """An array that training changes, and its gradient.

    data: the values. grad: same shape and dtype, 0 at first; `backward` adds into it. Both change in place.
    state_shape: the shape in a state_dict, where it is not data's.
    """

    def __init__(self, data: Any, state_shape: tuple[int, ...] | None = None) -> None:
        xp, data = get_array_module(data), plain(data)
        self.data = data
        with on_device(data):
            self.grad = xp.zeros_like(data)
        self.state_shape = data.shape if state_shape is None else state_shape

    @quietly
    def add_grad(self, gradient: Any) -> None:
        """Add into grad."""
        with on_device(self.data):
            self.grad += gradient

    def zero_grad(self) -> None:
        """Set grad to 0."""
        with on_device(self.data):
            self.grad.fill(0)

    def __repr__(self) -> str:
        return f"Parameter(shape={self.data.shape}, dtype={self.data.dtype})"


class Layer:
    """A step of a network: `forward(x) -> y`, then `backward(dy) -> dx`.

    A subclass calls `self._keep(...)` in forward and `self._kept()` in backward; its parameters are its attributes of
    type Parameter. What forward keeps are references: do not change its input in place before backward. It serves one
    backward: a second would add the gradients once more, and by then the input may have been changed.
    """

    training = True
    operation: str | None = None
    """The operation of backstride.kernels that forward is, where it is one."""
    _for_backward: Any = None

    def forward(self, x: A) -> A:
        raise NotImplementedError

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        """Add each parameter's gradient into its `grad` and return dx, the gradient of the input.

        dy: the gradient of the last forward's output, of its shape. With needs_input_grad=False dx is not computed
        and None is returned. Raises RuntimeError where no forward in training mode came before, or where it has had
        its backward.
        """
        raise NotImplementedError

    def __call__(self, x: A) -> A:
        return self.forward(x)

    def geometry(self, x_shape: tuple[int, ...]) -> Any:
        """The geometry of `operation` for an input of x_shape; None where there is no operation."""
        return None

    def _keep(self, value: Any) -> None:
        self._for_backward = value if self.training else None

    def _kept(self) -> Any:
        if self._for_backward is Used:
            raise RuntimeError(f"{self!r}: {SECOND_BACKWARD}")
        if self._for_backward is None:
            why = "forward" if self.training else "forward in training mode (in eval mode it keeps nothing)"
            raise RuntimeError(f"{self!r}: backward was called before {why}")
        kept, self._for_backward = self._for_backward, Used
        return kept

    def children(self) -> Iterator[tuple[str, Layer]]:
        """The layers this one is made of, with their names."""
        return iter(())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter with its name, as torch.nn names it: "weight", or "0.weight" inside a Sequential."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield name, value
        for prefix, child in self.children():
            for name, parameter in child.named_parameters():
                yield f"{prefix}.{name}", parameter

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def zero_grad(self) -> None:
        """Set every gradient to 0."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def train(self, mode: bool = True) -> Layer:
        """Training mode, in which forward keeps what backward needs. Returns the layer."""
        self.training = mode
        self._for_backward = None
        for _, child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Layer:
        """Evaluation mode: forward keeps nothing, so activations are freed at once, and backward is refused."""
        return self.train(False)

    def to(self, backend: str) -> Layer:
        """Move parameters and gradients to 'numpy' or 'cupy'. Returns the layer.

        An optimizer made before keeps its state where it was: move first. Raises as backstride.set_backend.
        """
        with use_backend(backend):
            for parameter in self.parameters():
                parameter.data, parameter.grad = asarray(parameter.data), asarray(parameter.grad)
        return self.train(self.training)

    def state_dict(self) -> dict[str, Any]:
        """Copies of the parameters by name, in PyTorch's shapes (a bias is (K,)), where the parameters live."""
        state = {}
        for name, p in self.named_parameters():
            with on_device(p.data):
                state[name] = p.data.reshape(p.state_shape).copy()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy `state` into the parameters, converting to their dtype.

        state: name -> NumPy or CuPy array or PyTorch tensor, of the shape in state_dict or of the parameter's own.
        ValueError lists every missing or unexpected name and wrong shape, and then nothing has been changed.
        """
        parameters = dict(self.named_parameters())
        for name, array in self.check_state_dict(state).items():
            data = parameters[name].data
            with on_device(data):
                data[...] = get_array_module(data).asarray(array).reshape(data.shape)

    def check_state_dict(self, state: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """The entries of `state` as NumPy arrays, without loading them. Raises as load_state_dict."""
        expected = {
            name: Expected(tuple(dict.fromkeys((p.state_shape, p.data.shape))), p.data.dtype)
            for name, p in self.named_parameters()
        }
        return checked("load_state_dict", expected, state)


def uniform(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, dtype: np.dtype) -> Any:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for weights (Kaiming, a = sqrt(5)) and biases.

    Drawn by NumPy in float64 and then converted, so that every backend starts from the same numbers.
    """
    bound = 1 / math.sqrt(fan_in)
    return asarray(rng.uniform(-bound, bound, shape).astype(dtype))


def float_dtype(operation: str, dtype: Any) -> np.dtype:
    """`dtype` as a NumPy dtype that the kernels take; TypeError otherwise."""
    found = dtypes.named(dtype) if isinstance(dtype, str) else np.dtype(dtype)
    if not dtypes.is_float(found):
        raise checks.type_error(operation, "dtype", found, " or ".join(dtypes.NAMES))
    return found
