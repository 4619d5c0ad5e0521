"""What compiled loops of pooling look up: of windows their taps inside the image, of positions the windows over them.

Images have three axes, (D, H, W), of which the first have extent 1 where there are fewer.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, reduce
from itertools import chain
from typing import NamedTuple

import numpy as np

from ..axis import Axis
from ..jit.correlate import with_three_axes
from ..jit.layout import three
from .geometry import AvgPoolGeometry, PoolGeometry


class Windows(NamedTuple):
    """kernel: how many taps there are along the axes, and how far apart they are. depths, rows, columns: of every
    window along an axis where its first tap stands, and the range of its taps inside the image."""

    kernel: np.ndarray
    depths: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


@lru_cache(1024)
def windows_of(g: PoolGeometry) -> Windows:
    axes = three(g.axes)
    kernel = [[axis.taps for axis in axes], [axis.dilation for axis in axes]]
    return Windows(np.array(kernel), *map(_along, axes))


def _along(axis: Axis) -> np.ndarray:
    return np.array([(axis.position(p, 0), *axis.taps_inside(p)) for p in range(axis.windows)], np.int64)


class Meetings(NamedTuple):
    """Of each position along an axis the windows over it, in their order, and which tap of them stands there: entries
    firsts[position]:firsts[position + 1]. most: of one position; span: from its first to its last. like_last: whether
    they are those of the position a stride before, each one further."""

    firsts: np.ndarray
    windows: np.ndarray
    taps: np.ndarray
    most: int
    span: int
    stride: int
    like_last: np.ndarray


@lru_cache(1024)
def meetings_of(g: PoolGeometry) -> tuple[Meetings, ...]:
    return tuple(map(_meetings, three(g.axes)))


def _meetings(axis: Axis) -> Meetings:
    each = [list(_over(axis, position)) for position in range(axis.extent)]
    further = [[(p + 1, tap) for p, tap in found] for found in each]
    like_last = [i >= axis.stride and found == further[i - axis.stride] for i, found in enumerate(each)]
    firsts = np.concatenate([[0], np.cumsum([len(found) for found in each], dtype=np.int64)])
    windows, taps = np.array([*chain(*each), (0, 0)], np.int64).T.copy()  # one more: past the last is read, not used
    span = max((found[-1][0] - found[0][0] + 1 for found in each if found), default=1)
    return Meetings(firsts, windows, taps, max(map(len, each)), span, axis.stride, np.array(like_last))


def _over(axis: Axis, position: int) -> Iterator[tuple[int, int]]:
    for p in range(*axis.windows_over(position, position + 1)):
        tap, between = divmod(position - axis.position(p, 0), axis.dilation)
        if not between:
            yield p, tap


@lru_cache(1024)
def divisors_of(g: AvgPoolGeometry, dtype: np.dtype) -> np.ndarray:
    """Of every window: (1, 1, Z, P, Q)."""
    return with_three_axes(reduce(np.multiply.outer, (counts.astype(dtype) for counts in g.counts()))[None, None])
