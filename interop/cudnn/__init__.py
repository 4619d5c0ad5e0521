"""The functions that CuPy 14 removed with cupy.cudnn and cupyx.cudnn, on backstride's kernels: no cuDNN is needed.

Names, order and meaning of arguments are those of CuPy 13.6 (cupyx/cudnn.pyx; MIT licence, Copyright (c) 2015 Preferred
Infrastructure, Inc., Copyright (c) 2015 Preferred Networks, Inc.); what a function writes in place it writes here. They
take NumPy's arrays too, images of one to three axes, and any strides. `install` shows them to programs that import
cupy.cudnn and cannot be edited.
"""

from __future__ import annotations

from typing import Any

from . import library
from .activation import activation_backward, activation_forward
from .convolution import convolution_backward_data, convolution_backward_filter, convolution_forward
from .installation import install
from .library import *  # noqa: F403
from .machine import get_max_workspace_size, is_tensor_core_available, set_max_workspace_size
from .missing import refusal
from .normalization import (
    batch_normalization_backward,
    batch_normalization_forward_inference,
    batch_normalization_forward_training,
    batch_normalization_forward_training_ex,
)
from .pooling import pooling_backward, pooling_forward
from .softmax import softmax_backward, softmax_forward

__all__ = [
    "activation_backward",
    "activation_forward",
    "batch_normalization_backward",
    "batch_normalization_forward_inference",
    "batch_normalization_forward_training",
    "batch_normalization_forward_training_ex",
    "convolution_backward_data",
    "convolution_backward_filter",
    "convolution_forward",
    "get_max_workspace_size",
    "install",
    "is_tensor_core_available",
    "pooling_backward",
    "pooling_forward",
    "set_max_workspace_size",
    "softmax_backward",
    "softmax_forward",
]
__all__ += [name for name in vars(library) if name.startswith("CUDNN_")]


def __getattr__(name: str) -> Any:
    return refusal(name)
