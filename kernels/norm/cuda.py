"""Normalisation on the GPU: statistics and result in one launch where a block can take a whole group of elements, else
in two; the gradients likewise. Nothing is read or written more often than that needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...batch_invariance import get_batch_invariant
from ..cuda.runtime.errors import launcher
from ..cuda.runtime.launch import check_index, launch
from ..cuda.runtime.loader import C_TYPES, fast_div
from ..cuda.runtime.replay import empty
from ..cuda.sums import sum_partials
from ..dtypes import accumulation_dtype
from . import words
from .geometry import BatchNormGeometry, RowNormGeometry
from .pixels import by_pixels
from .sharing import THREADS, Sharing

_ONE_EACH, _OF_VECTOR, _OF_ELEMENT = range(3)  # CHANNELS of norm.cuh
_GIVEN, _WHOLE, _PARTS = range(3)  # STATISTICS of normalise.cu
_NOTHING, _AGAIN, _READ = range(3)  # MASK of norm_grad.cuh


@launcher
@by_pixels
def batch_norm(x: Any, gamma: Any, beta: Any, residual: Any, geometry: BatchNormGeometry) -> tuple[Any, Any, Any]:
    g, acc = geometry, accumulation_dtype(x.dtype)
    y, mean, var = empty(g.x_shape, x.dtype), empty(g.C, acc), empty(g.C, acc)
    groups, matrix = _channels(g.N, g.C, g.plane, x.itemsize), _matrix(g, x.itemsize)
    following = {"residual": residual, "relu": g.activation is not None}
    if matrix is not None:
        words.normalise(matrix, x, y, mean, var, _affine(g, gamma, beta), **following)
    else:
        _normalise(groups, x, y, mean, var, _affine(g, gamma, beta), _ONE_EACH, **following)
    return y, mean, var


@launcher
@by_pixels
def batch_norm_inference(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, residual: Any, geometry: BatchNormGeometry
) -> Any:
    g, y = geometry, empty(geometry.x_shape, x.dtype)
    groups, matrix = _channels(g.N, g.C, g.plane, x.itemsize), _matrix(g, x.itemsize)
    following = {"residual": residual, "relu": g.activation is not None}
    if matrix is not None:
        words.normalise(matrix, x, y, mean, var, _affine(g, gamma, beta), given=True, **following)
    else:
        _normalise(groups, x, y, mean, var, _affine(g, gamma, beta), _ONE_EACH, given=True, **following)
    return y


@launcher
@by_pixels
def batch_norm_grads(
    dy: Any, x: Any, gamma: Any, mean: Any, var: Any, beta: Any, y: Any, geometry: BatchNormGeometry
) -> tuple[Any, ...]:
    g = geometry
    dx, dgamma, dbeta = _gradients(g, x)
    dresidual = empty(g.x_shape, x.dtype) if g.residual else None
    groups, affine = _channels(g.N, g.C, g.plane, x.itemsize), _affine(g, gamma, beta)
    matrix, sums = _matrix(g, x.itemsize), {"dgamma": dgamma, "dbeta": dbeta}
    if matrix is not None:
        gradient, mask = {"dy": dy, "x": x, "y": y, "mean": mean}, _mask(g)
        words.sums(matrix, gradient, mask, var, affine, dresidual=dresidual, **sums)
        gradient, mask = _of_residual(gradient, mask, dresidual)
        words.input_grad(matrix, gradient, mask, var, affine, dx=dx, **sums)
    else:
        results = {"dx": dx, "dresidual": dresidual, **sums}
        _input_grad(groups, dy, x, y, mean, var, affine, _ONE_EACH, _mask(g), g.count, **results)
    return (dx, dgamma, dbeta) if dresidual is None else (dx, dgamma, dbeta, dresidual)


@launcher
@by_pixels
def batch_norm_inference_grads(
    dy: Any, x: Any, gamma: Any, mean: Any, var: Any, beta: Any, y: Any, geometry: BatchNormGeometry
) -> tuple[Any, ...]:
    g = geometry
    dx, dgamma, dbeta = _gradients(g, x)
    dresidual = empty(g.x_shape, x.dtype) if g.residual else None
    groups, affine = _channels(g.N, g.C, g.plane, x.itemsize), _affine(g, gamma, beta)
    gradient, matrix = {"dy": dy, "x": x, "y": y, "mean": mean}, _matrix(g, x.itemsize)
    defines = {"CHANNELS": _ONE_EACH, "MASK": _mask(g), "OF_RUN": 0, "INFERENCE": 1}
    values = {"var": var, "inverse": None, "affine": affine, "dx": dx, "dresidual": dresidual}
    if matrix is not None:
        results = {"dx": dx, "dresidual": dresidual, "dgamma": dgamma, "dbeta": dbeta}
        words.sums(matrix, gradient, _mask(g), var, affine, **results)
    else:
        _channel_sums(groups, gradient, defines, values, dgamma, dbeta)
    return (dx, dgamma, dbeta) if dresidual is None else (dx, dgamma, dbeta, dresidual)


@launcher
def group_norm(x: Any, gamma: Any, beta: Any, geometry: RowNormGeometry) -> tuple[Any, Any, Any]:
    return _row_norm(x, gamma, beta, geometry)


@launcher
def group_norm_grads(
    dy: Any, x: Any, gamma: Any, mean: Any, var: Any, geometry: RowNormGeometry
) -> tuple[Any, Any, Any]:
    return _row_norm_grads(dy, x, gamma, mean, var, geometry)


@launcher
def layer_norm(x: Any, gamma: Any, beta: Any, geometry: RowNormGeometry) -> tuple[Any, Any, Any]:
    return _row_norm(x, gamma, beta, geometry)


@launcher
def layer_norm_grads(
    dy: Any, x: Any, gamma: Any, mean: Any, var: Any, geometry: RowNormGeometry
) -> tuple[Any, Any, Any]:
    return _row_norm_grads(dy, x, gamma, mean, var, geometry)


def _row_norm(x: Any, gamma: Any, beta: Any, g: RowNormGeometry) -> tuple[Any, Any, Any]:
    acc = accumulation_dtype(x.dtype)
    y, mean, var = empty(g.x_shape, x.dtype), empty(g.statistics_shape, acc), empty(g.statistics_shape, acc)
    groups = _rows(g, x.itemsize)
    _normalise(groups, x, y, mean, var, _row_affine(g, groups.vec, gamma, beta), _lie(g))
    return y, mean, var


def _row_norm_grads(dy: Any, x: Any, gamma: Any, mean: Any, var: Any, g: RowNormGeometry) -> tuple[Any, Any, Any]:
    acc = accumulation_dtype(x.dtype)
    dx, dgamma, dbeta = _gradients(g, x)
    rows, inverse = _rows(g, x.itemsize), empty(g.N * g.num_groups, acc)
    affine = _row_affine(g, rows.vec, gamma, None)
    _input_grad(rows, dy, x, None, mean, var, affine, _lie(g), _NOTHING, g.count, dx=dx, inverse=inverse)
    channels = _channels(g.N, g.C, g.plane, x.itemsize)
    gradient = {"dy": dy, "x": x, "y": None, "mean": mean}
    defines = {"CHANNELS": _ONE_EACH, "MASK": _NOTHING, "OF_RUN": 1, "INFERENCE": 0}
    values = {"var": None, "inverse": inverse, "affine": {**affine, "gamma": None}, "dx": None, "dresidual": None}
    _channel_sums(channels, gradient, defines, values, dgamma, dbeta)
    return dx, dgamma, dbeta


def _channels(n: int, c: int, plane: int, itemsize: int) -> Sharing:
    """Each channel of all images as a group."""
    check_index("normalisation", channels=c, elements_of_a_channel=n * plane)
    return Sharing.of(c, n, plane, c * plane, alike=plane, itemsize=itemsize)


def _matrix(g: BatchNormGeometry, itemsize: int) -> words.Matrix | None:
    """The pixels and channels, where words.py is for them."""
    matrix = words.Matrix.of(g.N, g.C, itemsize) if g.plane == 1 and g.C > 0 else None
    return matrix if matrix is not None and matrix.applies else None


def _of_residual(gradient: dict[str, Any], mask: int, dresidual: Any) -> tuple[dict[str, Any], int]:
    """The gradient read from the residual's, which is dz: dy and y need not be read again."""
    return (gradient, mask) if dresidual is None else ({**gradient, "dy": dresidual, "y": None}, _NOTHING)


def _rows(g: RowNormGeometry, itemsize: int) -> Sharing:
    check_index("normalisation", groups=g.N * g.num_groups, elements_of_a_group=g.count)
    alike = g.channels if g.plane == 1 else g.plane
    number = g.N * g.num_groups
    deciding = g.num_groups if get_batch_invariant() else number
    return replace(Sharing.of(deciding, 1, g.count, 0, alike=alike, itemsize=itemsize), number=number)


def _lie(g: RowNormGeometry) -> int:
    return _OF_ELEMENT if g.plane == 1 else _OF_VECTOR


def _affine(g: BatchNormGeometry, gamma: Any, beta: Any) -> dict[str, Any]:
    """The struct Affine of norm.cuh."""
    one = fast_div(1)
    return {"gamma": gamma, "beta": beta, "eps": g.eps, "groups": one, "channels": one, "plane": one}


def _row_affine(g: RowNormGeometry, vec: int, gamma: Any, beta: Any) -> dict[str, Any]:
    return {
        "gamma": gamma,
        "beta": beta,
        "eps": g.eps,
        "groups": fast_div(g.num_groups),
        "channels": fast_div(g.channels),
        "plane": fast_div(max(1, g.plane // vec)),
    }


def _mask(g: BatchNormGeometry) -> int:
    """What stops dy. A residual is no part of x: where one was added, y tells."""
    if g.activation is None:
        return _NOTHING
    return _READ if g.residual else _AGAIN


def _gradients(g: BatchNormGeometry | RowNormGeometry, x: Any) -> tuple[Any, Any, Any]:
    """dx, dgamma and dbeta."""
    acc = accumulation_dtype(x.dtype)
    return empty(g.x_shape, x.dtype), empty(g.parameter_shape, acc), empty(g.parameter_shape, acc)


def _defines(groups: Sharing, x: Any) -> dict[str, object]:
    return {"TYPE": C_TYPES[x.dtype.name], **groups.defines()}


def _normalise(
    groups: Sharing,
    x: Any,
    y: Any,
    mean: Any,
    var: Any,
    affine: dict[str, Any],
    lie: int,
    *,
    given: bool = False,
    residual: Any = None,
    relu: bool = False,
) -> None:
    if groups.number == 0:
        return
    partial, statistics = None, _GIVEN if given else _WHOLE
    defines = {**_defines(groups, x), "CHANNELS": lie}
    if groups.parts > 1 and not given:
        partial, statistics = empty((groups.parts, groups.number, 3), accumulation_dtype(x.dtype)), _PARTS
        launch(
            "norm_statistics.cu",
            "norm_statistics",
            defines,
            groups.blocks,
            THREADS,
            0,
            x=x,
            partial=partial,
            groups=groups.values(),
        )
    defines |= {"STATISTICS": statistics, "RESIDUAL": int(residual is not None), "RELU": int(relu)}
    launch(
        "normalise.cu",
        "normalise",
        defines,
        groups.blocks,
        THREADS,
        0,
        output={"x": x, "residual": residual, "y": y},
        mean=mean,
        var=var,
        partial=partial,
        parts=groups.parts,
        affine=affine,
        groups=groups.values(),
    )


def _input_grad(
    groups: Sharing,
    dy: Any,
    x: Any,
    y: Any,
    mean: Any,
    var: Any,
    affine: dict[str, Any],
    lie: int,
    mask: int,
    count: int,
    *,
    dx: Any,
    dresidual: Any = None,
    dgamma: Any = None,
    dbeta: Any = None,
    inverse: Any = None,
) -> None:
    if groups.number == 0:
        return
    gradient, in_parts = {"dy": dy, "x": x, "y": y, "mean": mean}, groups.parts > 1
    common = {"var": var, "affine": affine}
    dz = product = None
    if in_parts:
        defines = {"CHANNELS": lie, "MASK": mask, "OF_RUN": 0, "INFERENCE": 0}
        values = {**common, "inverse": None, "dx": None, "dresidual": dresidual}
        dz, product = _sums(groups, gradient, defines, values)
        gradient, mask = _of_residual(gradient, mask, dresidual)
        dresidual = None
    launch(
        "norm_input_grad.cu",
        "norm_input_grad",
        {**_defines(groups, x), "CHANNELS": lie, "MASK": mask, "IN_PARTS": int(in_parts)},
        groups.blocks,
        THREADS,
        0,
        gradient=gradient,
        **common,
        groups=groups.values(),
        count=max(1, count),
        parts=groups.parts,
        dz=dz,
        product=product,
        dx=dx,
        dresidual=dresidual,
        dgamma=dgamma,
        dbeta=dbeta,
        inverse=inverse,
    )


def _channel_sums(
    groups: Sharing,
    gradient: dict[str, Any],
    defines: Mapping[str, object],
    values: dict[str, Any],
    dgamma: Any,
    dbeta: Any,
) -> None:
    """Fill dgamma and dbeta."""
    if groups.number == 0:
        return
    if groups.parts == 1:
        _sums(groups, gradient, defines, values, dbeta, dgamma)
        return
    for partial, result in zip(_sums(groups, gradient, defines, values), (dbeta, dgamma), strict=True):
        sum_partials(partial, result, None, groups.parts, (1, 1))


def _sums(
    groups: Sharing,
    gradient: dict[str, Any],
    defines: Mapping[str, object],
    values: dict[str, Any],
    dz: Any = None,
    product: Any = None,
) -> tuple[Any, Any]:
    """Each part's sums over the groups of dz and of dz times the normalised input; new arrays where none are given."""
    x = gradient["x"]
    if dz is None:
        shape, acc = (groups.parts, groups.number), accumulation_dtype(x.dtype)
        dz, product = empty(shape, acc), empty(shape, acc)
    launch(
        "norm_sums.cu",
        "norm_sums",
        {**_defines(groups, x), **defines},
        groups.blocks,
        THREADS,
        0,
        gradient=gradient,
        **values,
        groups=groups.values(),
        dz=dz,
        product=product,
    )
    return dz, product
