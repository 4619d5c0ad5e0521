"""The operations as functions of tensors, with gradients of any order.

Images that lie in memory as torch.channels_last go to the kernels as "NHWC", and results come back so.

A convolution, a transposed one and a fully connected layer are linear in x and in w (`Product`), so the gradients of
their gradients are the same three operations again. An average is linear (`Map`): it and its gradient are each other's
gradient. That of a max pooling is linear, once it is known where the maxima stand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from ... import kernels
from ...kernels.checks import explicit_padding, per_axis
from ...kernels.layout import NHWC, in_layout, to_channels_first, to_channels_last
from .tensors import array, current, is_channels_last, on_arrays, tensor

Options = dict[str, Any]


def _kernel(family: str, x: Tensor, suffix: str = "") -> Callable[..., Any]:
    """The function of arrays with axes (N, C, *X), as torch has them, that suits the layout of x."""
    return _in_layout(getattr(kernels, f"{family}{x.ndim - 2}d{suffix}"), x)


def _in_layout(function: Callable[..., Any], x: Tensor) -> Callable[..., Any]:
    return partial(_on_channels_last, function) if is_channels_last(x) else function


def _on_channels_last(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """What a kernel function makes, with channels last, of views of its arrays; it is given shapes by name."""
    for name in options.keys() & {"x_shape", "w_shape"}:
        options[name] = in_layout(options[name], True)
    results = function(*map(_channels_last, arguments), layout=NHWC, **options)
    return tuple(map(to_channels_first, results)) if isinstance(results, tuple) else to_channels_first(results)


def _channels_last(argument: Any) -> Any:
    """An image or weights; a bias, or an option, stays as it is."""
    return to_channels_last(argument) if getattr(argument, "ndim", 0) > 2 else argument


def _as_autocast(*tensors: Tensor | None) -> list[Tensor | None]:
    """The tensors in the dtype that torch.autocast has in force, if any, as PyTorch does it before a product."""
    device = next(tensor.device.type for tensor in tensors if tensor is not None)
    if not (torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)):
        return list(tensors)
    dtype = torch.get_autocast_dtype(device)
    return [t if t is None or t.dtype == torch.float64 else t.to(dtype) for t in tensors]


# --- what is linear


class Map(Function):
    """A linear map of one tensor, `there`, and its adjoint, `back`: each is the gradient of the other."""

    @staticmethod
    def forward(ctx: Any, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        ctx.there, ctx.back = there, back
        return there(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        return None, None, Map.apply(ctx.back, ctx.there, dy)


@dataclass(frozen=True)
class Product:
    """y = forward(x, w, b), linear in x, in w and in b, and its gradients; all are functions of arrays.

    db_shape: how a bias is broadcast to an output.
    """

    forward: Callable[[Any, Any, Any], Any]
    input_grad: Callable[[Any, Any], Any]
    weight_grad: Callable[[Any, Any], Any]
    parameter_grads: Callable[[Any, Any], Any]
    bias_grad: Callable[[Any], Any]
    db_shape: tuple[int, ...]

    def __call__(self, x: Tensor, w: Tensor, b: Tensor | None) -> Any:
        return Forward.apply(self, *_as_autocast(x, w, b))


class Forward(Function):
    """y of x, w and b."""

    @staticmethod
    def forward(ctx: Any, product: Product, x: Tensor, w: Tensor, b: Tensor | None) -> Any:
        ctx.product = product
        ctx.save_for_backward(x, w)
        return on_arrays(product.forward, x, w, b)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        product, (x, w) = ctx.product, ctx.saved_tensors
        _, needs_x, needs_w, needs_b = ctx.needs_input_grad
        dx = dw = db = None
        if needs_x:
            dx = InputGrad.apply(product, dy, w)
        if needs_w and needs_b:
            dw, db = ParameterGrads.apply(product, dy, x)
        elif needs_w:
            dw = WeightGrad.apply(product, dy, x)
        elif needs_b:
            shape, y_shape = product.db_shape, dy.shape
            db = Map.apply(partial(on_arrays, product.bias_grad), lambda b: b.reshape(shape).expand(y_shape), dy)
        return None, dx, dw, db


class InputGrad(Function):
    """dx of dy and w."""

    @staticmethod
    def forward(ctx: Any, product: Product, dy: Tensor, w: Tensor) -> Any:
        ctx.product = product
        ctx.save_for_backward(dy, w)
        return on_arrays(product.input_grad, dy, w)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        product, (dy, w) = ctx.product, ctx.saved_tensors
        _, needs_dy, needs_w = ctx.needs_input_grad
        return (
            None,
            Forward.apply(product, grad, w, None) if needs_dy else None,
            WeightGrad.apply(product, dy, grad) if needs_w else None,
        )


class WeightGrad(Function):
    """dw of dy and x."""

    @staticmethod
    def forward(ctx: Any, product: Product, dy: Tensor, x: Tensor) -> Any:
        ctx.product = product
        ctx.save_for_backward(dy, x)
        return on_arrays(product.weight_grad, dy, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _parameters_backward(ctx, grad, None)


class ParameterGrads(Function):
    """dw and db of dy and x, which on CUDA are one product."""

    @staticmethod
    def forward(ctx: Any, product: Product, dy: Tensor, x: Tensor) -> Any:
        ctx.product = product
        ctx.save_for_backward(dy, x)
        return on_arrays(product.parameter_grads, dy, x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, bias_grad: Tensor) -> Any:
        return _parameters_backward(ctx, grad, bias_grad)


def _parameters_backward(ctx: Any, grad: Tensor, bias_grad: Tensor | None) -> Any:
    product, (dy, x) = ctx.product, ctx.saved_tensors
    _, needs_dy, needs_x = ctx.needs_input_grad
    return (
        None,
        Forward.apply(product, x, grad, bias_grad) if needs_dy else None,
        InputGrad.apply(product, dy, grad) if needs_x else None,
    )


def conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Convolution along one to three axes: kernels.conv1d, conv2d or conv3d of tensors, with gradients of any order.

    x: (N, C, *X), w: (K, C/groups, *R), b: (K,) or None. Options as there. Returns y (N, K, *P).
    """
    options: Options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    kernel, x_shape, w_shape = partial(_kernel, "conv", x), tuple(x.shape), tuple(w.shape)

    def parameter_grads(dy: Any, x: Any) -> Any:
        dw, db = kernel("_parameter_grads")(dy, x, w_shape=w_shape, **options)
        return dw, db.reshape(-1)

    product = Product(
        forward=partial(kernel(), **options),
        input_grad=lambda dy, w: kernel("_input_grad")(dy, w, x_shape=x_shape, **options),
        weight_grad=lambda dy, x: kernel("_weight_grad")(dy, x, w_shape=w_shape, **options),
        parameter_grads=parameter_grads,
        bias_grad=lambda dy: kernel("_bias_grad")(dy).reshape(-1),
        db_shape=(-1, *[1] * (x.ndim - 2)),
    )
    return product(x, w, b)


def conv_transpose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Transposed convolution along one to three axes, with gradients of any order, which are those of the convolution
    with x and dy exchanged.

    x: (N, C, *X), w: (C, K/groups, *R), b: (K,) or None. Options as kernels.conv_transpose2d's. Returns y (N, K, *P).
    """
    rank, w_shape = x.ndim - 2, tuple(w.shape)
    options: Options = {"stride": stride, "dilation": dilation, "groups": groups}
    kernel = partial(_kernel, "conv", x)
    forward = partial(_kernel("conv_transpose", x), padding=padding, output_padding=output_padding, **options)
    # With an output padding of a stride or more, the convolution back has windows at the end that x has not.
    operation, pads = f"conv_transpose{rank}d", []
    strides = per_axis(operation, "stride", stride, rank, 1)
    extra = per_axis(operation, "output_padding", output_padding, rank, 0)
    for (before, after), more, step in zip(explicit_padding(operation, padding, rank), extra, strides, strict=True):
        pads.append((before, after - more // step * step))
    options["padding"] = tuple((before, max(after, 0)) for before, after in pads)
    within = (..., *(slice(None, min(after, 0) or None) for _, after in pads))

    def parameter_grads(dy: Any, x: Any) -> Any:
        return weight_grad(dy, x), kernel("_bias_grad")(dy).reshape(-1)

    def weight_grad(dy: Any, x: Any) -> Any:
        return kernel("_weight_grad")(x, dy[within], w_shape=w_shape, **options)

    product = Product(
        forward=forward,
        input_grad=lambda dy, w: kernel()(dy[within], w, **options),
        weight_grad=weight_grad,
        parameter_grads=parameter_grads,
        bias_grad=lambda dy: kernel("_bias_grad")(dy).reshape(-1),
        db_shape=(-1, *[1] * rank),
    )
    return product(x, w, b)


_LINEAR = Product(
    forward=kernels.linear,
    input_grad=kernels.linear_input_grad,
    weight_grad=kernels.linear_weight_grad,
    parameter_grads=kernels.linear_parameter_grads,
    bias_grad=kernels.linear_bias_grad,
    db_shape=(1, -1),
)


def linear(x: Tensor, w: Tensor, b: Tensor | None = None) -> Any:
    """Fully connected layer: kernels.linear of tensors, with gradients of any order.

    x: (*, F), w: (O, F), b: (O,) or None. Returns y (*, O).
    """
    return _LINEAR(x.reshape(-1, x.shape[-1]), w, b).reshape(*x.shape[:-1], w.shape[0])


# --- pooling


class MaxPool(Function):
    """y of x, and the maxima's positions where they are asked for."""

    @staticmethod
    def forward(ctx: Any, options: Options, indices: bool, x: Tensor) -> Any:
        kernel = partial(_kernel, "max_pool", x)
        x_shape = tuple(x.shape)
        with current(x.device):
            y, taps = kernel()(array(x), **options)
            ctx.taps, ctx.scatter = taps, partial(kernel("_grad"), x_shape=x_shape, **options)
            ctx.indices = partial(kernel("_indices"), taps, x_shape=x_shape, **options)
            found = tensor(ctx.indices()) if indices else None
        if found is None:
            return tensor(y)
        ctx.mark_non_differentiable(found)
        return tensor(y), found

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
        taps, scatter, indices = ctx.taps, ctx.scatter, ctx.indices

        def gather(dx: Tensor) -> Tensor:
            with current(dx.device):
                found = tensor(indices())
            values = dx.flatten(2).gather(2, found.flatten(2).clamp(min=0)).reshape(found.shape)
            return values.where(found >= 0, 0)  # a window wholly in padding has no maximum

        return None, None, Map.apply(partial(on_arrays, lambda dy: scatter(dy, taps)), gather, dy)


def max_pool(
    x: Tensor,
    kernel_size: Any,
    *,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Max pooling along one to three axes, with gradients of any order. x: (N, C, *X). Returns y (N, C, *P), or
    (y, indices) with PyTorch's positions of the maxima in each plane."""
    options = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": ceil_mode,
    }
    return MaxPool.apply(options, return_indices, x)


def avg_pool(x: Tensor, kernel_size: Any, **options: Any) -> Any:
    """Average pooling along one to three axes: kernels.avg_pool1d, avg_pool2d or avg_pool3d of tensors, with their
    options, and with gradients of any order. x: (N, C, *X). Returns y (N, C, *P)."""
    x_shape = tuple(x.shape)
    there, back = _kernel("avg_pool", x), _kernel("avg_pool", x, "_grad")
    return Map.apply(
        partial(on_arrays, lambda x: there(x, kernel_size, **options)),
        partial(on_arrays, lambda dy: back(dy, x_shape=x_shape, kernel_size=kernel_size, **options)),
        x,
    )


def adaptive_avg_pool(x: Tensor, output_size: Any) -> Any:
    """Average pooling to `output_size`, along one to three axes, with gradients of any order. x: (N, C, *X)."""
    x_shape = tuple(x.shape)
    there, back = _kernel("adaptive_avg_pool", x), _kernel("adaptive_avg_pool", x, "_grad")
    return Map.apply(
        partial(on_arrays, lambda x: there(x, output_size)),
        partial(on_arrays, lambda dy: back(dy, x_shape=x_shape)),
        x,
    )


# --- normalisation


class BatchNorm(Function):
    """y, mean and var of x, gamma and beta; statistics that are given are used as they are."""

    @staticmethod
    def forward(ctx: Any, eps: float, x: Tensor, gamma: Tensor | None, beta: Tensor | None, *statistics: Tensor) -> Any:
        if statistics:
            forward, ctx.grads = _in_layout(kernels.batch_norm_inference, x), kernels.batch_norm_inference_grads
            result = on_arrays(partial(forward, eps=eps), x, gamma, beta, *statistics)
        else:
            forward, ctx.grads = _in_layout(kernels.batch_norm, x), kernels.batch_norm_grads
            result = _, *statistics = on_arrays(partial(forward, eps=eps), x, gamma, beta)
            ctx.mark_non_differentiable(*statistics)
        ctx.eps = eps
        ctx.save_for_backward(x, gamma, *statistics)
        return result

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
        _, *needed = ctx.needs_input_grad
        x, gamma, mean, var = ctx.saved_tensors
        if torch.is_grad_enabled():  # a graph of the gradient is asked for
            grads = _differentiable_grads(dy, x, gamma, mean, var, ctx.eps, given=len(needed) > 3)
        else:
            grads = on_arrays(partial(_in_layout(ctx.grads, x), eps=ctx.eps), dy, x, gamma, mean, var)
        return None, *(grad if wanted else None for grad, wanted in zip((*grads, None, None), needed, strict=False))


def _differentiable_grads(
    dy: Tensor, x: Tensor, gamma: Tensor | None, mean: Tensor, var: Tensor, eps: float, given: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """dx, dgamma and dbeta by PyTorch's own operations; given: the statistics do not depend on x."""
    axes, shape = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))
    dz, values = dy.to(var.dtype), x.to(var.dtype)
    if given:
        mean, var = mean.reshape(shape), var.reshape(shape)
    else:
        var, mean = torch.var_mean(values, axes, correction=0, keepdim=True)
    z, scale = (values - mean) * (var + eps).rsqrt(), (var + eps).rsqrt()
    dbeta, dgamma = dz.sum(axes, keepdim=True), (dz * z).sum(axes, keepdim=True)
    if not given:
        dz = dz - (dbeta + z * dgamma) / (x.numel() // x.shape[1])
    dx = dz * scale if gamma is None else dz * scale * gamma.reshape(shape)
    return dx.to(x.dtype), dgamma.flatten(), dbeta.flatten()


def _as_accumulated(x: Tensor, *parameters: Tensor | None) -> list[Tensor | None]:
    """Parameters of normalisation as kernels take them: in float32 where x has 16 bits."""
    return [p.float() if p is not None and x.element_size() == 2 else p for p in parameters]


def batch_norm(x: Tensor, gamma: Tensor | None = None, beta: Tensor | None = None, *, eps: float = 1e-5) -> Any:
    """kernels.batch_norm of tensors: (y, mean, var). y has gradients of any order; for those beyond the first,
    PyTorch's own operations compute the first too."""
    return BatchNorm.apply(eps, x, *_as_accumulated(x, gamma, beta))


def batch_norm_inference(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, mean: Tensor, var: Tensor, *, eps: float = 1e-5
) -> Any:
    """kernels.batch_norm_inference of tensors: y, with gradients as batch_norm's; mean and var have none."""
    return BatchNorm.apply(eps, x, *_as_accumulated(x, gamma, beta, mean, var))
