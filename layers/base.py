"""What every layer has: parameters with gradients, buffers, children, modes, state_dict, and what forward keeps."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import numpy as np

from .._notices import warn_once
from .._state import checked, is_real, to_fit
from ..backend import asarray, get_array_module, is_cupy, on_device, plain, quietly, use_backend
from ..kernels import checks, dtypes
from ..kernels.types import A, Array

SECOND_BACKWARD = "backward was called a second time; each forward allows one backward"


class Used:
    """In the place of what forward has kept once backward has had it. A class, which stays itself in copies."""


class NotKept:
    """In the place of what forward keeps, before it has."""


class Buffer:
    """An array that is saved, loaded and moved with its layer and that no gradient changes, such as a running mean.

    data: the values, real numbers of any dtype, to be changed in place. TypeError for another dtype.
    """

    def __init__(self, data: Any) -> None:
        get_array_module(data)
        self.data = plain(data)
        if not is_real(self.data.dtype):
            raise checks.type_error("Buffer", "data.dtype", self.data.dtype, "a dtype of real numbers")

    @property
    def state_shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self.data.shape
        return shape

    def __repr__(self) -> str:
        return f"Buffer(shape={self.data.shape}, dtype={self.data.dtype})"


class Parameter:
    """An array that training changes, and its gradient.

    data: the values, changed in place. grad: None until the first backward, then of data's shape and dtype; `backward`
    adds into it. requires_grad: set it to False to freeze the parameter: its gradient is not computed, and an optimizer
    passes it over. state_shape: the shape in a state_dict, where it is not data's.
    """

    requires_grad = True

    def __init__(self, data: Any, state_shape: tuple[int, ...] | None = None) -> None:
        get_array_module(data)
        self.data = plain(data)
        self.grad: Any = None
        self.state_shape = self.data.shape if state_shape is None else state_shape

    @quietly
    def add_grad(self, gradient: Any) -> None:
        """Add into grad; nothing where requires_grad is False."""
        if not self.requires_grad:
            return
        with on_device(self.data):
            if self.grad is None:
                self.grad = get_array_module(self.data).zeros_like(self.data)
            self.grad += plain(gradient)

    def zero_grad(self) -> None:
        """Set grad to 0, where there is one."""
        if self.grad is not None:
            with on_device(self.data):
                self.grad.fill(0)

    def __repr__(self) -> str:
        return f"Parameter(shape={self.data.shape}, dtype={self.data.dtype})"


class LoadedNames(NamedTuple):
    """What load_state_dict(strict=False) passed over, under PyTorch's names: not in the state, or not in the layer."""

    missing_keys: list[str]
    unexpected_keys: list[str]


Held = TypeVar("Held", Parameter, Buffer)

_recording: ContextVar[bool] = ContextVar("recording", default=False)
"""Whether the forward of a layer in training mode is running: what is called in it keeps what backward needs."""


class Layer:
    """A step of a network: `forward(x) -> y`, then `backward(dy) -> dx`.

    A subclass calls `self._keep(...)` in forward and `self._kept()` in backward, and adds gradients up by
    `parameter.add_grad`. As in torch.nn its children, `Parameter`s and `Buffer`s are found among its attributes and
    named after them. What forward keeps are references: do not change its input in place before backward. It serves
    one backward: a second would add the gradients once more, and by then the input may have been changed. A backward
    that does not take needs_input_grad is called without it.

    A block of your own, and its training:

    >>> import numpy as np
    >>> from backstride.layers import BatchNorm2d, Conv2d, CrossEntropyLoss, Layer, Linear, Sequential
    >>> from backstride.optim import SGD
    >>> class Block(Layer):  # y = relu(bn(conv(x)) + x)
    ...     def __init__(self, channels):
    ...         self.conv = Conv2d(channels, channels, 3, padding=1, bias=False, rng=0)
    ...         self.bn = BatchNorm2d(channels, activation="relu")
    ...     def forward(self, x):
    ...         return self.bn(self.conv(x), x)
    ...     def backward(self, dy):
    ...         dx, of_shortcut = self.bn.backward(dy)
    ...         return self.conv.backward(dx) + of_shortcut
    >>> net = Sequential(Conv2d(1, 4, 3, padding=1, rng=1), Block(4), Linear(256, 2, rng=2))
    >>> loss, optimizer = CrossEntropyLoss(), SGD(net.parameters(), lr=0.05, momentum=0.9)
    >>> labels = np.arange(32) % 2  # of stripes along one axis or the other
    >>> stripes = np.broadcast_to(np.arange(8) % 2, (8, 8))
    >>> images = np.where(labels.reshape(32, 1, 1, 1), stripes, stripes.T).astype(np.float32)
    >>> for _ in range(10):
    ...     value = loss(net(images), labels)
    ...     net.zero_grad()
    ...     net.backward(loss.backward(), needs_input_grad=False)
    ...     optimizer.step()
    >>> bool(value < 0.1), list(net.state_dict())[2:6]
    (True, ['1.conv.weight', '1.bn.weight', '1.bn.bias', '1.bn.running_mean'])
    """

    training = True
    operation: str | None = None
    """The operation of backstride.kernels that forward is, where it is one."""
    _for_backward: Any = NotKept
    _looked_for_arrays = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = vars(cls).get("backward")
        if own is not None and not _takes_needs_input_grad(own):
            cls.backward = _without_needs_input_grad(own)  # type: ignore[method-assign]

    def forward(self, x: A) -> A:
        raise NotImplementedError

    def backward(self, dy: Array, *, needs_input_grad: bool = True) -> Any:
        """Add each parameter's gradient into its `grad` and return dx, the gradient of the input.

        dy: the gradient of the last forward's output, of its shape. With needs_input_grad=False dx is not computed
        and None is returned. Raises RuntimeError where no forward in training mode came before, or where it has had
        its backward.
        """
        raise NotImplementedError

    def __call__(self, x: A, *more: Any) -> A:
        if not self.training or _recording.get():
            return self.forward(x, *more)
        token = _recording.set(True)
        try:
            return self.forward(x, *more)
        finally:
            _recording.reset(token)

    def geometry(self, x_shape: tuple[int, ...]) -> Any:
        """The geometry of `operation` for an input of x_shape; None where there is no operation."""
        return None

    def _keep(self, value: Any) -> None:
        """Keep value for backward, in training mode or inside a layer that is in training mode."""
        self._for_backward = value if self.training or _recording.get() else NotKept

    def _kept(self) -> Any:
        if self._for_backward is Used:
            raise RuntimeError(f"{self!r}: {SECOND_BACKWARD}")
        if self._for_backward is NotKept:
            why = "forward" if self.training else "forward in training mode (in eval mode it keeps nothing)"
            raise RuntimeError(f"{self!r}: backward was called before {why}")
        kept, self._for_backward = self._for_backward, Used
        return kept

    def children(self) -> Iterator[tuple[str, Layer]]:
        """The layers among the attributes, with their names.

        TypeError where they stand in a list, tuple, set or dict, in which they are not found.
        """
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                yield name, value
            elif _hides_layers(value):
                raise checks.type_error(
                    type(self).__name__,
                    name,
                    f"a {type(value).__name__} of layers or parameters, in which they are not found",
                    "a Sequential, or an attribute for each",
                )

    def consecutive(self) -> Iterable[tuple[str, str]]:
        """Pairs of children's names where forward hands what the first gives to the second alone, for `fold`.

        None, unless a subclass says which.
        """
        return ()

    def named_layers(self) -> Iterator[tuple[str, Layer]]:
        """This layer, named "", and all that it is made of, such as "body.0".

        ValueError where a layer object stands in two places: it keeps one input for its backward.
        """
        yield from _walk("", self, {})

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter, once, with its name, as torch.nn names it: "weight", or "0.weight" inside a Sequential."""
        return _once((name, p) for name, p in self.named_state() if isinstance(p, Parameter))

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Every buffer, once, with its name, such as "1.running_mean"."""
        return _once((name, b) for name, b in self.named_state() if isinstance(b, Buffer))

    def named_state(self) -> Iterator[tuple[str, Parameter | Buffer]]:
        """Every parameter and buffer with its name in a state_dict, in the order of torch.nn."""
        for place, layer in self.named_layers():
            layer._say_what_is_not_saved()
            for kind in (Parameter, Buffer):
                for name, value in vars(layer).items():
                    if isinstance(value, kind):
                        yield _joined(place, name), value

    def _say_what_is_not_saved(self) -> None:
        """Say which arrays are no part of the state. Once, and early: later there are also those of a forward."""
        if self._looked_for_arrays:
            return
        self._looked_for_arrays = True
        for name, value in vars(self).items():
            if (isinstance(value, np.ndarray) or is_cupy(value)) and not name.startswith("_"):
                warn_once(
                    f"{type(self).__name__}.{name} is an array that is not saved, loaded nor moved with the layer: "
                    "make it a Buffer (or a Parameter), or begin its name with _ where it need not be"
                )

    def parameters(self) -> Iterator[Parameter]:
        return (parameter for _, parameter in self.named_parameters())

    def zero_grad(self) -> None:
        """Set every gradient to 0."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def train(self, mode: bool = True) -> Layer:
        """Training mode, in which forward keeps what backward needs. Returns the layer."""
        for _, layer in list(self.named_layers()):
            layer.training = mode
            layer._for_backward = NotKept
        return self

    def eval(self) -> Layer:
        """Evaluation mode: forward keeps nothing, so activations are freed at once, and backward is refused.

        A layer in evaluation mode inside one in training mode computes as in evaluation, and has its backward.
        """
        return self.train(False)

    def to(self, backend: str) -> Layer:
        """Move parameters, gradients and buffers to 'numpy' or 'cupy'. Returns the layer.

        An optimizer made before keeps its state where it was: move first. Raises as backstride.set_backend.
        """
        with use_backend(backend):
            for _, held in list(self.named_state()):
                held.data = asarray(held.data)
                if isinstance(held, Parameter) and held.grad is not None:
                    held.grad = asarray(held.grad)
        for _, layer in self.named_layers():
            layer._for_backward = NotKept
        return self

    def state_dict(self) -> dict[str, Any]:
        """Copies of parameters and buffers by name, in PyTorch's shapes (a bias is (K,)), where they live."""
        state = {}
        for name, held in self.named_state():
            with on_device(held.data):
                state[name] = held.data.reshape(held.state_shape).copy()
        return state

    def load_state_dict(self, state: Mapping[str, Any], *, strict: bool = True) -> LoadedNames:
        """Copy `state` into the parameters and buffers, converting to their dtype.

        state: name -> NumPy or CuPy array or PyTorch tensor, of the shape in state_dict or of the parameter's own.
        ValueError lists every missing or unexpected name and wrong shape, and then nothing has been changed. With
        strict=False missing and unexpected names are passed over; they are returned.
        """
        held = dict(self.named_state())
        for name, array in self.check_state_dict(state, strict=strict).items():
            data = held[name].data
            with on_device(data):
                data[...] = get_array_module(data).asarray(array).reshape(data.shape)
        return LoadedNames([name for name in held if name not in state], [name for name in state if name not in held])

    def check_state_dict(self, state: Mapping[str, Any], *, strict: bool = True) -> dict[str, np.ndarray]:
        """The entries of `state` as NumPy arrays, without loading them. Raises as load_state_dict."""
        expected = {
            name: to_fit(tuple(dict.fromkeys((held.state_shape, held.data.shape))), held.data.dtype)
            for name, held in self.named_state()
        }
        return checked("load_state_dict", expected, state, strict)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={child!r}' for name, child in self.children())})"

    def _repr_html_(self) -> str:
        """What notebooks show: a line for each layer that holds no other, and the number of parameters."""
        from .._html import table

        lines = [
            {"name": place, "layer": repr(layer), "parameters": f"{_number_of_parameters(layer):,}"}
            for place, layer in self.named_layers()
            if not any(True for _ in layer.children())
        ]
        return table(lines, f"{type(self).__name__}: {_number_of_parameters(self):,} parameters")


def _number_of_parameters(layer: Layer) -> int:
    return sum(parameter.data.size for _, parameter in layer.named_parameters())


def _takes_needs_input_grad(backward: Callable[..., Any]) -> bool:
    parameters = inspect.signature(backward).parameters
    return "needs_input_grad" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _without_needs_input_grad(backward: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(backward)
    def call(self: Layer, dy: Array, *, needs_input_grad: bool = True) -> Any:
        dx = backward(self, dy)
        return dx if needs_input_grad else None

    return call


def _hides_layers(value: Any) -> bool:
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if not isinstance(value, (list, tuple, set, frozenset)):
        return False
    return any(isinstance(item, (Layer, Parameter, Buffer)) or _hides_layers(item) for item in value)


def _walk(place: str, layer: Layer, places: dict[int, str]) -> Iterator[tuple[str, Layer]]:
    if id(layer) in places:
        other = f"layer {places[id(layer)]}" if places[id(layer)] else "the layer that holds it"
        message = f"layer {place} is the same object as {other}"
        raise ValueError(f"{message}; expected a layer of its own in every place")
    places[id(layer)] = place
    yield place, layer
    for name, child in layer.children():
        yield from _walk(_joined(place, name), child, places)


def _joined(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _once(named: Iterator[tuple[str, Held]]) -> Iterator[tuple[str, Held]]:
    seen = set()
    for name, held in named:
        if id(held) not in seen:
            seen.add(id(held))
            yield name, held


def add_grads(*gradients: tuple[Parameter | None, Any]) -> None:
    """Add each gradient that there is to its parameter's."""
    for parameter, gradient in gradients:
        if parameter is not None and gradient is not None:
            parameter.add_grad(gradient)


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
