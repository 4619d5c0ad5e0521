"""Planes of a source laid out as one run of rows, with the zeros that windows read around them, and rows of results."""

from __future__ import annotations

from .compiled import compiled
from .vectors import make_copy

_copy, _copy_every_second, _copy_to_every_second = make_copy(1, 1), make_copy(2, 1), make_copy(1, 2)


@compiled
def lay_out(src, run, first_image, images, first_channel, channels, steps, origins, phases, extents):
    """run[c, phases, image, d, h, w] = src[image, c, d*step + phase + origin and so on], 0 outside the source.

    Three axes: src is (N, C, D, H, W), and the last four arguments are triples. What follows the planes in run is 0.
    """
    N, C, D, H, W = src.shape
    flat, zero = src.reshape(-1), src.dtype.type(0)
    at = 0
    for c in range(first_channel, first_channel + channels):
        for a in range(phases[0]):
            for b in range(phases[1]):
                for e in range(phases[2]):
                    start = origins[2] + e
                    low = min(extents[2], max(0, -(start // steps[2])))
                    high = max(low, min(extents[2], (W - 1 - start) // steps[2] + 1))
                    for image in range(first_image, first_image + images):
                        for i in range(extents[0]):
                            d = i * steps[0] + a + origins[0]
                            for j in range(extents[1]):
                                h = j * steps[1] + b + origins[1]
                                if image >= N or not (0 <= d < D and 0 <= h < H) or low == high:
                                    run[at : at + extents[2]] = zero
                                else:
                                    line = (((image * C + c) * D + d) * H + h) * W + start
                                    for k in range(low):
                                        run[at + k] = zero
                                    _get_row(run, at + low, flat, line + low * steps[2], steps[2], high - low)
                                    for k in range(high, extents[2]):
                                        run[at + k] = zero
                                at += extents[2]
    run[at:] = zero


@compiled
def _get_row(run, at, flat, line, step, count):
    zero = run.dtype.type(0)
    if step == 1:
        _copy(run, at, flat, line, count, zero)
    elif step == 2:
        _copy_every_second(run, at, flat, line, count, zero)
    else:
        for k in range(count):
            run[at + k] = flat[line + k * step]


@compiled
def put_row(dst, at, step, results, place, count, bias):
    """dst[at + q*step] = results[place + q] + bias, both flat."""
    if step == 1:
        _copy(dst, at, results, place, count, bias)
    elif step == 2:
        _copy_to_every_second(dst, at, results, place, count, bias)
    else:
        for q in range(count):
            dst[at + q * step] = results[place + q] + bias
