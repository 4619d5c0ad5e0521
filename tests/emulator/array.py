"""cupy.ndarray and the array functions of the emulator: NumPy's, on arrays that live in emulated device memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import device, memory

# What cupy has under the same name and meaning; these functions take and return device arrays.
FUNCTIONS = """
abs absolute add all allclose amax amin any arange argmax argmin argsort array_equal broadcast_to ceil clip
concatenate copysign cos count_nonzero cumsum divide dot einsum equal exp expand_dims expm1 eye flip floor
floor_divide fmax fmin full full_like greater greater_equal isfinite isinf isnan less less_equal linspace log log1p
logical_and logical_not logical_or matmul max maximum mean min minimum moveaxis multiply nan_to_num negative
nonzero not_equal ones ones_like outer pad power prod ravel remainder reshape roll rollaxis sign sin sort sqrt
square squeeze stack std subtract sum swapaxes take take_along_axis tanh tensordot transpose true_divide var vstack
where zeros zeros_like
"""
# Their results' shapes depend on values: CuPy waits for those.
WAITING = ("nonzero",)
CONSTANTS = """
bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 dtype finfo iinfo inf nan newaxis pi
result_type can_cast promote_types issubdtype floating integer isscalar
"""
_METHODS = """
all any argmax argmin argsort astype clip copy cumsum dot flatten max mean min nonzero prod ravel repeat reshape round
squeeze std sum swapaxes take transpose var view
"""
_ATTRIBUTES = "shape strides dtype ndim size nbytes itemsize flags"
_BINARY = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift"
_COMPARISONS = "lt le eq ne gt ge"
_UNARY = "neg pos abs invert"


def _room_for(a: np.ndarray) -> np.ndarray:
    """Uninitialised memory of the current device for a host array, its axes in the same order in memory."""
    if a.size == 0:
        return a.copy()
    axes = sorted(range(a.ndim), key=lambda axis: -abs(a.strides[axis]))
    dense = memory.allocate(a.nbytes).view(a.dtype).reshape([a.shape[axis] for axis in axes])
    return dense.transpose(np.argsort(axes)) if axes else dense


def _to_device(a: np.ndarray) -> np.ndarray:
    """A copy of a host array in the current device's memory."""
    copy = _room_for(a)
    copy[...] = a
    return copy


def wrap(value: Any) -> Any:
    """NumPy's result as CuPy's: arrays and scalars become device arrays, views of device memory stay views."""
    if isinstance(value, tuple | list):
        return type(value)(map(wrap, value))
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray):
        return value
    return ndarray._of(value if memory.device_of(value.ctypes.data) is not None else _to_device(value))


def unwrap(value: Any) -> Any:
    """CuPy's argument as NumPy's; a host array is refused, and one of a device that is not the current one."""
    if isinstance(value, tuple | list):
        return type(value)(map(unwrap, value))
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"Unsupported type {type(value)}")
    if not isinstance(value, ndarray):
        return value
    if value.size and value.device.id != device.current_device():
        raise ValueError(
            "Array device must be same as the current device: "
            f"array device = {value.device.id} while current = {device.current_device()}"
        )
    return value._array


def on_device(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy function, one that modifies no argument, as one of device arrays."""
    name = getattr(function, "__name__", "function")

    def call(*args: Any, **kwargs: Any) -> Any:
        if name in WAITING:
            device.count_synchronisation()
        args, kwargs = tuple(map(unwrap, args)), {key: unwrap(value) for key, value in kwargs.items()}
        return _record(function, args, kwargs) if device.is_capturing() else wrap(function(*args, **kwargs))

    call.__name__ = name
    return call


def _record(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What `function` returns; a new array is computed when the graph is launched, until then it is uninitialised."""
    with np.errstate(all="ignore"):
        found = function(*args, **kwargs)  # for its shape and dtype
    assert isinstance(found, np.ndarray | np.generic), f"{function} is not emulated in a captured stream"
    found = np.asarray(found)
    if memory.device_of(found.ctypes.data) is not None:
        return ndarray._of(found)  # a view
    room = _room_for(found)
    _queue(lambda room, args, kwargs: room.__setitem__(..., function(*args, **kwargs)), room, args, kwargs)
    return ndarray._of(room)


def _queue(function: Callable[..., Any], *args: Any) -> None:
    """function(*args), or where the current stream captures, a record of it that keeps no memory from being freed."""
    if not device.is_capturing():
        function(*args)
        return
    places = _addresses(args)

    def run() -> None:
        with np.errstate(all="ignore"):  # a device knows no warnings
            function(*_arrays(places))

    device.queue(run)


def _addresses(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _addresses(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map(_addresses, value))
    on_device = isinstance(value, np.ndarray) and memory.device_of(value.ctypes.data) is not None
    return memory.Address.of(value) if on_device else value


def _arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _arrays(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(map(_arrays, value))
    return value.array() if isinstance(value, memory.Address) else value


class ndarray:
    """Stands for cupy.ndarray: a NumPy array over emulated device memory that refuses to be taken for one."""

    __module__ = "cupy"
    __hash__ = None  # type: ignore[assignment]
    _array: np.ndarray

    def __init__(self, shape: Any, dtype: Any = float):
        self._array = empty(shape, dtype)._array

    @classmethod
    def _of(cls, array: np.ndarray) -> ndarray:
        self = cls.__new__(cls)
        self._array = array
        return self

    @property
    def data(self) -> SimpleNamespace:
        ptr = self._array.ctypes.data if self.size else 0
        return SimpleNamespace(ptr=ptr, device_id=self.device.id, device=self.device)

    @property
    def device(self) -> device.Device:
        return device.Device(memory.device_of(self._array.ctypes.data))

    @property
    def base(self) -> ndarray | None:
        return ndarray._of(self._array.base) if isinstance(self._array.base, np.ndarray) else None

    @property
    def T(self) -> ndarray:
        return wrap(self._array.T)

    def get(self, stream: Any = None, order: str = "C", out: np.ndarray | None = None) -> np.ndarray:
        device.refuse_transfer("D2H")
        device.count_synchronisation()
        if out is None:
            return self._array.copy(order)
        out[...] = self._array
        return out

    def set(self, a: np.ndarray, stream: Any = None) -> None:
        if a.dtype != self.dtype or a.shape != self.shape:
            raise ValueError(f"cannot set {a.dtype} {a.shape} into {self.dtype} {self.shape}")
        device.refuse_transfer("H2D")
        self._array[...] = a

    def fill(self, value: Any) -> None:
        _queue(np.ndarray.fill, self._array, unwrap(value))

    def item(self, *args: Any) -> Any:
        return self.get().item(*args)

    def tolist(self) -> Any:
        return self.get().tolist()

    def __getitem__(self, key: Any) -> ndarray:
        if any(isinstance(index, ndarray) and index.dtype == bool for index in (key if type(key) is tuple else (key,))):
            device.count_synchronisation()  # for the number of elements that a mask chooses
        return on_device(np.ndarray.__getitem__)(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _queue(np.ndarray.__setitem__, self._array, unwrap(key), unwrap(value))

    def __len__(self) -> int:
        return len(self._array)

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __index__(self) -> int:
        return self.get().__index__()

    def __repr__(self) -> str:
        return repr(self.get())

    def __deepcopy__(self, memo: Any) -> ndarray:
        with self.device:
            return array(self)

    def __array__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return on_device(getattr(ufunc, method))(*inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return on_device(function)(*args, **kwargs) if function.__name__ in FUNCTIONS.split() else NotImplemented


def _delegate() -> None:
    """Gives ndarray the attributes, methods and operators that are NumPy's."""

    def attribute(name: str) -> property:
        return property(lambda self: getattr(self._array, name))

    for name in _ATTRIBUTES.split():
        setattr(ndarray, name, attribute(name))
    plain = [f"__{name}__" for name in f"{_BINARY} {_COMPARISONS} {_UNARY}".split()]
    reflected = [f"__r{name}__" for name in _BINARY.split()]
    for name in (*_METHODS.split(), *plain, *reflected):
        setattr(ndarray, name, on_device(getattr(np.ndarray, name)))
    for name in _BINARY.split():
        setattr(ndarray, f"__i{name}__", _in_place(f"__i{name}__"))


def _in_place(name: str) -> Callable[[ndarray, Any], ndarray]:
    def operate(self: ndarray, other: Any) -> ndarray:
        _queue(getattr(np.ndarray, name), unwrap(self), unwrap(other))
        return self

    return operate


_delegate()


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """Uninitialised, which here is 0xff in every byte."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if not size:
        return ndarray._of(np.empty(shape, dtype))
    return ndarray._of(memory.allocate(size).view(dtype).reshape(shape, order=order))


def empty_like(a: ndarray, dtype: Any = None) -> ndarray:
    return empty(a.shape, dtype or a.dtype)


def array(obj: Any, dtype: Any = None, copy: bool = True, order: str = "K") -> ndarray:
    """A new device array from a host array, a sequence or a device array (which may be on another device)."""
    if isinstance(obj, ndarray):
        return _copied(np.array, obj, dtype=dtype, order=order)
    host = np.array(obj, dtype=dtype, order=order)
    if host.ndim:
        device.refuse_transfer("H2D")
    room = _room_for(host)
    _queue(np.ndarray.__setitem__, room, ..., host)
    return ndarray._of(room)


def _copied(function: Callable[..., Any], a: ndarray, **options: Any) -> ndarray:
    """np.array or np.asarray of an array that may be on another device."""
    if device.is_capturing():
        return _record(function, (a._array,), options)
    return wrap(function(a._array, **options))


def asarray(a: Any, dtype: Any = None, order: str = "K") -> ndarray:
    """`a` itself where it is on the current device with that dtype and order, else a copy."""
    if isinstance(a, ndarray) and (not a.size or a.device.id == device.current_device()):
        found = _copied(np.asarray, a, dtype=dtype, order=order)
        return a if found._array is a._array else found
    return array(a, dtype, order=order)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    return asarray(a, dtype, "C")


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: np.ndarray | None = None) -> np.ndarray:
    return a.get(order=order, out=out) if isinstance(a, ndarray) else np.asarray(a, order=order)


def get_array_module(*args: Any) -> Any:
    import cupy

    return cupy if any(isinstance(arg, ndarray) for arg in args) else np


def copyto(destination: ndarray, source: Any) -> None:
    destination[...] = source


def namespace() -> dict[str, Any]:
    """The names of the module cupy that concern arrays."""
    forwarded = {name: on_device(getattr(np, name)) for name in FUNCTIONS.split()}
    own = (ndarray, empty, empty_like, array, asarray, ascontiguousarray, asnumpy, get_array_module, copyto)
    constants = {name: getattr(np, name) for name in CONSTANTS.split()}
    return forwarded | constants | {item.__name__: item for item in own}
