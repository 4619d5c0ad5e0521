"""Twins of torch.nn's modules, which only compute otherwise: attributes, state_dict, hooks and initial weights are
torch.nn's. So a module becomes its twin, or is itself again, by a change of its class (`convert`)."""

from __future__ import annotations

from typing import Any, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from . import functions

Network = TypeVar("Network", bound=nn.Module)


def _batched(rank: int, x: Tensor, compute: Any) -> Any:
    """compute(x) for x with the axis N; of one image without it (C, *X), its result without it too."""
    if x.ndim == rank + 2:
        return compute(x)
    if x.ndim != rank + 1:
        raise ValueError(f"the input has {x.ndim} axes; expected (N, C, *X) or (C, *X) with {rank} axes in X")
    results = compute(x[None])
    return tuple(each[0] for each in results) if isinstance(results, tuple) else results[0]


class _Conv:
    """Of nn.Conv1d, nn.Conv2d and nn.Conv3d."""

    def _conv_forward(self: Any, x: Tensor, w: Tensor, b: Tensor | None) -> Any:
        padding = self.padding
        if self.padding_mode != "zeros":
            x, padding = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0
        options = {"stride": self.stride, "padding": padding, "dilation": self.dilation, "groups": self.groups}
        return _batched(w.ndim - 2, x, lambda x: functions.conv(x, w, b, **options))


class Conv1d(_Conv, nn.Conv1d):
    """nn.Conv1d by this package's kernels."""


class Conv2d(_Conv, nn.Conv2d):
    """nn.Conv2d by this package's kernels."""


class Conv3d(_Conv, nn.Conv3d):
    """nn.Conv3d by this package's kernels."""


class _ConvTranspose:
    def forward(self: Any, x: Tensor, output_size: list[int] | None = None) -> Any:
        rank = self.weight.ndim - 2
        extra = self._output_padding(x, output_size, self.stride, self.padding, self.kernel_size, rank, self.dilation)
        options = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}

        def compute(x: Tensor) -> Any:
            return functions.conv_transpose(x, self.weight, self.bias, output_padding=tuple(extra), **options)

        return _batched(rank, x, compute)


class ConvTranspose1d(_ConvTranspose, nn.ConvTranspose1d):
    """nn.ConvTranspose1d by this package's kernels."""


class ConvTranspose2d(_ConvTranspose, nn.ConvTranspose2d):
    """nn.ConvTranspose2d by this package's kernels."""


class ConvTranspose3d(_ConvTranspose, nn.ConvTranspose3d):
    """nn.ConvTranspose3d by this package's kernels."""


class Linear(nn.Linear):
    """nn.Linear by this package's kernels."""

    def forward(self, x: Tensor) -> Any:
        return functions.linear(x, self.weight, self.bias)


class _MaxPool:
    _rank: int

    def forward(self: Any, x: Tensor) -> Any:
        options = {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "ceil_mode": self.ceil_mode,
            "return_indices": self.return_indices,
        }
        return _batched(self._rank, x, lambda x: functions.max_pool(x, self.kernel_size, **options))


class MaxPool1d(_MaxPool, nn.MaxPool1d):
    """nn.MaxPool1d by this package's kernels."""

    _rank = 1


class MaxPool2d(_MaxPool, nn.MaxPool2d):
    """nn.MaxPool2d by this package's kernels."""

    _rank = 2


class MaxPool3d(_MaxPool, nn.MaxPool3d):
    """nn.MaxPool3d by this package's kernels."""

    _rank = 3


class _AvgPool:
    _rank: int

    def forward(self: Any, x: Tensor) -> Any:
        options = {
            "stride": self.stride,
            "padding": self.padding,
            "ceil_mode": self.ceil_mode,
            "count_include_pad": self.count_include_pad,
            "divisor_override": getattr(self, "divisor_override", None),  # which nn.AvgPool1d lacks
        }
        return _batched(self._rank, x, lambda x: functions.avg_pool(x, self.kernel_size, **options))


class AvgPool1d(_AvgPool, nn.AvgPool1d):
    """nn.AvgPool1d by this package's kernels."""

    _rank = 1


class AvgPool2d(_AvgPool, nn.AvgPool2d):
    """nn.AvgPool2d by this package's kernels."""

    _rank = 2


class AvgPool3d(_AvgPool, nn.AvgPool3d):
    """nn.AvgPool3d by this package's kernels."""

    _rank = 3


class _AdaptiveAvgPool:
    _rank: int

    def forward(self: Any, x: Tensor) -> Any:
        asked = self.output_size if isinstance(self.output_size, tuple) else (self.output_size,) * self._rank
        size = tuple(
            extent if each is None else each for each, extent in zip(asked, x.shape[-self._rank :], strict=True)
        )
        return _batched(self._rank, x, lambda x: functions.adaptive_avg_pool(x, size))


class AdaptiveAvgPool1d(_AdaptiveAvgPool, nn.AdaptiveAvgPool1d):
    """nn.AdaptiveAvgPool1d by this package's kernels."""

    _rank = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool, nn.AdaptiveAvgPool2d):
    """nn.AdaptiveAvgPool2d by this package's kernels."""

    _rank = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool, nn.AdaptiveAvgPool3d):
    """nn.AdaptiveAvgPool3d by this package's kernels."""

    _rank = 3


class _BatchNorm:
    def forward(self: Any, x: Tensor) -> Any:
        self._check_input_dim(x)
        if not self.training and self.running_mean is not None:
            statistics = self.running_mean, self.running_var
            return functions.batch_norm_inference(x, self.weight, self.bias, *statistics, eps=self.eps)
        count = x.numel() // max(1, x.shape[1])
        if count == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(x.shape)}")
        y, mean, var = functions.batch_norm(x, self.weight, self.bias, eps=self.eps)
        if self.training and self.running_mean is not None and count:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            for running, new in ((self.running_mean, mean), (self.running_var, var * (count / (count - 1)))):
                running.lerp_(new.to(running.dtype), share)
        return y


class BatchNorm1d(_BatchNorm, nn.BatchNorm1d):
    """nn.BatchNorm1d by this package's kernels."""


class BatchNorm2d(_BatchNorm, nn.BatchNorm2d):
    """nn.BatchNorm2d by this package's kernels."""


class BatchNorm3d(_BatchNorm, nn.BatchNorm3d):
    """nn.BatchNorm3d by this package's kernels."""


_TWINS: dict[type[nn.Module], type[nn.Module]] = {
    getattr(nn, twin.__name__): twin
    for twin in (
        *(Conv1d, Conv2d, Conv3d),
        *(ConvTranspose1d, ConvTranspose2d, ConvTranspose3d),
        *(MaxPool1d, MaxPool2d, MaxPool3d),
        *(AvgPool1d, AvgPool2d, AvgPool3d),
        *(AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d),
        *(BatchNorm1d, BatchNorm2d, BatchNorm3d),
        Linear,
    )
}


def convert(model: Network, *, back: bool = False) -> Network:
    """Make every layer of `model` that has a twin here its twin, or with back=True torch.nn's again; returns `model`.

    In place: parameters, buffers, hooks, training mode and the names in its state_dict stay, and so does an optimizer
    over its parameters. Subclasses of torch.nn's layers stay what they are, and so does what a model computes by
    torch.nn.functional.
    """
    classes = {twin: own for own, twin in _TWINS.items()} if back else _TWINS
    for module in model.modules():
        if type(module) in classes:
            module.__class__ = classes[type(module)]
    return model
