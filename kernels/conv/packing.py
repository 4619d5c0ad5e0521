"""Weights by their taps, as kernels read them that go from tap to tap."""

from __future__ import annotations

from typing import Any

from ..cuda.runtime.launch import launch
from ..cuda.runtime.loader import C_TYPES, fast_div
from ..cuda.runtime.replay import empty

_THREADS = 256


def pack_weights(w: Any, shape: tuple[int, int, int, int], channels: int, *, gradient: bool = False) -> Any:
    """An array [group][tap][filter][channel] of such a shape, in which zeros follow the channels of a group.

    gradient: of the convolution that the input gradient of w's is.
    """
    _, taps, filters, packed_channels = shape
    packed = empty(shape, w.dtype)
    if packed.size:
        launch(
            "pack_weights.cu",
            "pack_weights",
            {"TYPE": C_TYPES[w.dtype.name], "THREADS": _THREADS, "GRADIENT": int(gradient)},
            -(-packed.size // _THREADS),
            _THREADS,
            0,
            w=w,
            packed=packed,
            size=packed.size,
            channels=channels,
            packed_channels=fast_div(packed_channels),
            filters=fast_div(filters),
            taps=fast_div(taps),
        )
    return packed
