"""PyTorch networks on the kernels of this package: functions that autograd knows, modules, and `convert(model)`.

CPU tensors run the NumPy path and CUDA tensors the CUDA path, on PyTorch's current stream, neither with a copy: tensors
and arrays share memory. Every dtype is PyTorch's own, float16, bfloat16, float32 and float64; under torch.autocast
products are computed in its dtype, as PyTorch's are. Results on CUDA lie in CuPy's memory pool.

    import backstride.interop.torch as backstride_torch

    backstride_torch.convert(model)                 # its layers, in place; the optimizer and the weights stay
    ...
    backstride_torch.convert(model, back=True)

Functions take x of one to three axes beside N and C; options are those of backstride.kernels.
"""

from ..._extras import needed_for

with needed_for("backstride.interop.torch", "torch"):
    import torch  # noqa: F401

from .functions import (
    adaptive_avg_pool,
    avg_pool,
    batch_norm,
    batch_norm_inference,
    conv,
    conv_transpose,
    linear,
    max_pool,
)
from .modules import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Linear,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    convert,
)

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Linear",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "adaptive_avg_pool",
    "avg_pool",
    "batch_norm",
    "batch_norm_inference",
    "conv",
    "conv_transpose",
    "convert",
    "linear",
    "max_pool",
]
