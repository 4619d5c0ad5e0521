"""A 1x1 window over every pixel is a matrix product for each image: BLAS's, where images are large enough for it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ...backend import quietly
from ..cpu import threads
from .blocks import WORTH
from .epilogue import bias_of, end_rows, kink_of

LARGE, SMALL = 256, 32  # pixels of an image: for BLAS's products always, and never, enough columns
MUCH, MUCH_OF_WEIGHTS = 1 << 17, 1 << 24  # multiply-adds of an image between: with fewer, tiles of several are faster
SHARES = 8  # of the images, whose weight gradients are added in order


def suit(pixels: int, c: int, k: int, much: int = MUCH) -> bool:
    """For images of so many pixels and groups of c channels and k results. The input gradient of 512,7->2048, 8 images,
    takes 15 ms so and 25 ms by tiles (one thread)."""
    return c > 1 and (pixels >= LARGE or (pixels >= SMALL and pixels * c * k >= much))


def multiply(
    w: np.ndarray,
    x: np.ndarray,
    b: np.ndarray | None,
    y: np.ndarray,
    groups: int,
    *,
    transposed: bool = False,
    activation: str | None = None,
) -> None:
    """y (N, K, ...) = b plus w (K, C/groups, ...) times x (N, C, ...), and what the activation makes of that; or,
    transposed, w (C, K/groups, ...)."""
    weights, pixels, results = _by_group(w, groups, 0), _by_group(x, groups, 1), _by_group(y, groups, 1)
    weights = weights.swapaxes(1, 2) if transposed else weights
    bias, kink, size = bias_of(b, y.shape[1], activation, y.dtype), kink_of(activation, y.dtype), results.shape[-1]

    def work(first: int, end: int) -> None:
        np.matmul(weights, pixels[first:end], out=results[first:end])
        if bias is not None:
            end_rows(results[first:end].reshape(-1, size), bias, kink, 0, size)

    flops = 2 * w.size * x.size // max(1, x.shape[1])
    threads.run(work, [(n, n + 1) for n in range(len(x))] if flops > WORTH else [(0, len(x))])


@quietly
def weight_grad(dy: np.ndarray, x: np.ndarray, dw: np.ndarray, groups: int) -> None:
    """dw (K, C/groups, ...) = the sum over images of dy[n] (K, ...) times x[n] (C, ...) transposed."""
    gradients, pixels = _by_group(dy, groups, 1), _by_group(x, groups, 1).swapaxes(2, 3)
    out = _by_group(dw, groups, 0)
    shares = max(1, min(SHARES, len(x), (1 << 22) // max(1, dw.size)))
    sums = np.empty((shares, *out.shape), dw.dtype)

    def work(share: int, first: int, end: int) -> None:
        np.matmul(gradients[first], pixels[first], out=sums[share])
        for n in range(first + 1, end):
            sums[share] += gradients[n] @ pixels[n]

    ends = [len(x) * share // shares for share in range(shares + 1)]
    threads.run(work, [(share, *span) for share, span in enumerate(pairwise(ends))])
    sums.sum(axis=0, out=out)


def _by_group(a: np.ndarray, groups: int, axis: int) -> np.ndarray:
    """A view (..., groups, rows of a group, the rest)."""
    return a.reshape(*a.shape[:axis], groups, a.shape[axis] // groups, -1)
