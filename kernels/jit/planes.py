"""Planes of a source laid out as one run of rows, with what windows read around them, and rows of results."""

from __future__ import annotations

import numpy as np

from .compiled import compiled
from .vectors import interleave, make_copy, widen

_copy, _copy_every_second, _copy_to_every_second = make_copy(1, 1), make_copy(2, 1), make_copy(1, 2)


@compiled
def lay_out(src, run, border, clear, first_image, images, first_channel, channels, steps, origins, phases, extents):
    """run[c, phases, image, d, h, w] = src[image, c, d*step + phase + origin and so on], `border` outside the source.

    Three axes: src is (N, C, D, H, W), and the last four arguments are triples. clear: unless the border, and what
    follows the planes, stand in the run already.
    """
    N, C, D, H, W = src.shape
    flat, at = src.reshape(-1), 0
    plane = extents[0] * extents[1] * extents[2]
    if clear:
        run[:] = border
    for c in range(first_channel, first_channel + channels):
        for a in range(phases[0]):
            d0, d_low, d_high = _inside(origins[0] + a, steps[0], extents[0], D)
            for b in range(phases[1]):
                h0, h_low, h_high = _inside(origins[1] + b, steps[1], extents[1], H)
                for e in range(phases[2]):
                    w0, low, high = _inside(origins[2] + e, steps[2], extents[2], W)
                    for image in range(first_image, min(N, first_image + images)):
                        for d in range(d_low, d_high):
                            line = (((image * C + c) * D + d0 + d * steps[0]) * H + h0 + h_low * steps[1]) * W + w0
                            place = at + (d * extents[1] + h_low) * extents[2] + low
                            line += low * steps[2]
                            rows, count = h_high - h_low, high - low
                            _get_rows(run, place, extents[2], flat, line, steps[1] * W, steps[2], rows, count)
                        at += plane
                    at += plane * (images - max(0, min(images, N - first_image)))


@compiled
def lay_out_numbers(src, run, border, clear, first_image, images, origins, extents):
    """The same of whole numbers, of one channel and without steps."""
    N, _, D, H, W = src.shape
    flat, plane = src.reshape(-1), extents[0] * extents[1] * extents[2]
    if clear:
        run[:] = border
    d0, d_low, d_high = _inside(origins[0], 1, extents[0], D)
    h0, h_low, h_high = _inside(origins[1], 1, extents[1], H)
    w0, low, high = _inside(origins[2], 1, extents[2], W)
    for image in range(min(N - first_image, images)):
        for d in range(d_low, d_high):
            for h in range(h_low, h_high):
                line = (((first_image + image) * D + d0 + d) * H + h0 + h) * W + w0 + low
                place = image * plane + (d * extents[1] + h) * extents[2] + low
                widen(run, place, flat, line, high - low)


@compiled
def _inside(start, step, extent, source):
    """start, and the positions below the extent of which position*step + start lies inside the source: a range."""
    low = min(extent, max(0, -(start // step)))
    return start, low, max(low, min(extent, (source - 1 - start) // step + 1))


@compiled
def _get_rows(run, at, pitch, flat, line, source_pitch, step, rows, count):
    same, none = run.dtype.type(-0.0), run.dtype.type(np.nan)
    if step == 1:
        _copy(run, at, pitch, flat, line, source_pitch, rows, count, same, none)
    elif step == 2:
        _copy_every_second(run, at, pitch, flat, line, source_pitch, rows, count, same, none)
    else:
        for j in range(rows):
            for k in range(count):
                run[at + j * pitch + k] = flat[line + j * source_pitch + k * step]


@compiled
def _put_rows(dst, at, pitch, step, results, place, result_pitch, rows, count, bias):
    """dst[at + j*pitch + q*step] = results[place + j*result_pitch + q] + bias, both flat."""
    none = dst.dtype.type(np.nan)
    if step == 1:
        _copy(dst, at, pitch, results, place, result_pitch, rows, count, bias, none)
    elif step == 2:
        _copy_to_every_second(dst, at, pitch, results, place, result_pitch, rows, count, bias, none)
    else:
        for j in range(rows):
            for q in range(count):
                dst[at + j * pitch + q * step] = results[place + j * result_pitch + q] + bias


@compiled
def block_of(at, u, N):
    """Of block u of a layout: its first image, depth and row, how many there are of each, where the source of its first
    window begins, and over how many positions of a run its results extend."""
    depths, rows = -(-at.windows[0] // at.block[1]), -(-at.windows[1] // at.block[2])
    first = u // (depths * rows) * at.block[0], u // rows % depths * at.block[1], u % rows * at.block[2]
    count = (
        min(at.block[0], N - first[0]),
        min(at.block[1], at.windows[0] - first[1]),
        min(at.block[2], at.windows[1] - first[2]),
    )
    corner = at.origins[0] + first[1] * at.steps[0], at.origins[1] + first[2] * at.steps[1], at.origins[2]
    lines = ((count[0] - 1) * at.extents[0] + count[1] - 1) * at.extents[1] + count[2] - 1
    return first, count, corner, lines * at.extents[2] + at.windows[2]


@compiled
def get_block(src, channel, run, at, first, count):
    """What stands at a block's windows in a channel of src (N, K, *windows), to where a run has their results."""
    flat, same, none = src.reshape(-1), run.dtype.type(-0.0), run.dtype.type(np.nan)
    _, K, Z, P, Q = src.shape
    for image in range(count[0]):
        for d in range(count[1]):
            line = ((((first[0] + image) * K + channel) * Z + first[1] + d) * P + first[2]) * Q
            place = (image * at.extents[0] + d) * at.extents[1] * at.extents[2]
            _copy(run, place, at.extents[2], flat, line, Q, count[2], Q, same, none)


@compiled
def put_block(dst, channel, results, place, at, first, count, bias):
    """A block's results, from results[place] on, into a channel of dst (N, K, D, H, W), plus a bias."""
    (d0, step_d), (h0, step_h), (w0, step_w) = at.places
    flat, pitch = dst.reshape(-1), dst.shape[4] * step_h
    for image in range(count[0]):
        for d in range(count[1]):
            plane = ((first[0] + image) * dst.shape[1] + channel) * dst.shape[2]
            line = (plane + (first[1] + d) * step_d + d0) * dst.shape[3]
            line = (line + first[2] * step_h + h0) * dst.shape[4] + w0
            source = place + (image * at.extents[0] + d) * at.extents[1] * at.extents[2]
            _put_rows(flat, line, pitch, step_w, results, source, at.extents[2], count[2], at.windows[2], bias)


@compiled
def put_classes(dst, channel, results, place, apart, at, row, first, count, bias, kink):
    """A block's results into a channel of dst (N, K, D, H, W), plus a bias, and 0 where that is at most the kink: of
    row `row` of the classes, that is of all the classes along the last axis, the first of which has its results at
    results[place], each other `apart` on."""
    a, b = row // at.classes[1], row % at.classes[1]
    (_, step_d), (_, step_h), (_, step_w) = at.places
    _, K, D, H, W = dst.shape
    flat, pitch, source_pitch, classes = dst.reshape(-1), W * step_h, at.extents[2], at.classes[2]
    zero = dst.dtype.type(0)
    depths = min(count[1], -(-(D - a) // step_d) - first[1])
    rows = min(count[2], -(-(H - b) // step_h) - first[2])
    for image in range(count[0]):
        for d in range(depths):
            plane = ((first[0] + image) * K + channel) * D + (first[1] + d) * step_d + a
            line = (plane * H + first[2] * step_h + b) * W
            source = place + (image * at.extents[0] + d) * at.extents[1] * source_pitch
            if step_w == 1:
                _copy(flat, line, pitch, results, source, source_pitch, rows, W, bias, kink)
            elif classes == 2:
                interleave(flat, line, pitch, results, source, source + apart, source_pitch, rows, W, bias, kink)
            else:
                for j in range(rows):
                    for e in range(classes):
                        for q in range(-(-(W - e) // step_w)):
                            value = results[source + e * apart + j * source_pitch + q] + bias
                            flat[line + j * pitch + e + q * step_w] = zero if value <= kink else value
