"""dx, dw and db of a tiny convolution by one kernel."""

from __future__ import annotations

import math
from typing import Any

from ..cuda.runtime.launch import launch
from ..cuda.runtime.loader import C_TYPES, fast_div
from ..cuda.windows import check_offsets
from .geometry import ConvGeometry

LIMIT = 2**21
"""Floating-point operations of one gradient, and elements that threads visit, up to which launching separate kernels is
estimated to take longer than the work."""

_THREADS = 128
_BLOCKS_PER_SM = 8  # what the compiler may count on: without a bound it spills for the sake of occupancy


def applies(g: ConvGeometry) -> bool:
    """Whether all three gradients are little work on little data, though not none at all."""
    elements = math.prod(g.x_shape) * g.R * g.S, math.prod(g.w_shape), math.prod(g.y_shape)
    return g.K > 0 and max(g.flops, *elements) <= LIMIT


def grads(dy: Any, x: Any, w: Any, dx: Any, dw: Any, db: Any, g: ConvGeometry) -> None:
    """Fill dx, dw and db. Arguments are contiguous; of their shapes only the order of the elements counts."""
    check_offsets(g)
    windows = g.N * g.P * g.Q
    lanes = _lanes(windows)
    dx_blocks = -(-dx.size // _THREADS)
    blocks = dx_blocks + -(-(dw.size + g.K) * lanes // _THREADS)
    extents = {"C": g.C, "H": g.H, "W": g.W, "P": g.P, "Q": g.Q, "R": g.R, "S": g.S}
    groups = {"group_channels": g.C // g.groups, "group_filters": g.K // g.groups}
    strides = {"stride_h": g.stride[0], "stride_w": g.stride[1]}
    defines = {
        "TYPE": C_TYPES[dy.dtype.name],
        "THREADS": _THREADS,
        "BLOCKS_PER_SM": _BLOCKS_PER_SM,
        "LANES": lanes,
    }
    launch(
        "tiny_grads.cu",
        "tiny_grads",
        defines,
        blocks,
        _THREADS,
        0,
        dy=dy,
        x=x,
        w=w,
        dx=dx,
        dw=dw,
        db=db,
        dx_blocks=dx_blocks,
        dx_size=dx.size,
        dw_size=dw.size,
        windows=windows,
        taps=g.R * g.S,
        K=g.K,
        **{name: fast_div(max(1, extent)) for name, extent in {**extents, **groups, **strides}.items()},
        dilation_h=g.dilation[0],
        dilation_w=g.dilation[1],
        pad_top=g.padding[0][0],
        pad_left=g.padding[1][0],
    )


def _lanes(terms: int) -> int:
    """Threads that share a sum: 4, a warp or a block, whichever first leaves each at most 16 terms."""
    return 4 if terms <= 64 else 32 if terms <= 512 else _THREADS
