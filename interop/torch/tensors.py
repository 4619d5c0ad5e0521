"""Tensors as arrays and arrays as tensors, on the same memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import numpy as np
import torch

from ..._extras import ml_dtypes
from ...backend import import_cupy, is_cupy


def on_arrays(function: Callable[..., Any], *tensors: torch.Tensor | None) -> Any:
    """What `function` makes of the tensors as arrays, its results as tensors. None stays None.

    On CUDA it runs on the first tensor's device and there on PyTorch's current stream, so that neither side waits.
    """
    with current(next(tensor.device for tensor in tensors if tensor is not None)):
        results = function(*map(array, tensors))
        return tuple(map(tensor, results)) if isinstance(results, tuple) else tensor(results)


def is_channels_last(x: torch.Tensor) -> bool:
    """Whether an image lies in memory as torch.channels_last and in no other way too."""
    layout = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)
    return layout is not None and x.is_contiguous(memory_format=layout) and not x.is_contiguous()


class _Stream:
    """A stream of PyTorch's in the form that CuPy takes."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._handle


def current(device: torch.device) -> AbstractContextManager[Any]:
    """Inside the with block PyTorch's device and its current stream there are CuPy's; TypeError for other devices."""
    entered = ExitStack()
    if device.type == "cuda":
        cupy = import_cupy()
        entered.enter_context(cupy.cuda.Device(device.index))
        stream = _Stream(torch.cuda.current_stream(device).cuda_stream)
        entered.enter_context(cupy.cuda.Stream.from_external(stream))
    elif device.type != "cpu":
        raise TypeError(f"got a tensor on {device}; expected one on the CPU or on CUDA")
    return entered


def array(tensor: torch.Tensor | None) -> Any:
    """The array that shares a tensor's memory. bfloat16, which NumPy lacks, passes as int16."""
    if tensor is None:
        return None
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return array(tensor.view(torch.int16)).view(ml_dtypes().bfloat16)
    return import_cupy().from_dlpack(tensor) if tensor.is_cuda else tensor.numpy()


def tensor(array: Any) -> torch.Tensor:
    """The tensor that shares an array's memory."""
    if array.dtype.name == "bfloat16":
        return tensor(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_dlpack(array) if is_cupy(array) else torch.from_numpy(array)
