"""Where channels stand in the arrays of images: before an image's axes, (N, C, H, W), or after them, (N, H, W, C).

The two names mean that whatever the number of axes; weights are (K, C/groups, R, S) and (K, R, S, C/groups).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, wraps
from typing import Any, TypeVar

from . import checks

F = TypeVar("F", bound=Callable[..., Any])
G = TypeVar("G", bound="InLayout")
T = TypeVar("T")

NCHW, NHWC = "NCHW", "NHWC"


def is_channels_last(operation: str, layout: Any) -> bool:
    """Whether the option says so; ValueError where it is no layout."""
    if not isinstance(layout, str) or layout not in (NCHW, NHWC):
        raise checks.value_error(operation, "layout", repr(layout), f"{NCHW!r} or {NHWC!r}")
    return layout == NHWC


def in_layout(axes: Sequence[T], channels_last: bool) -> tuple[T, ...]:
    """Extents, names or letters of N, C, H and W, or of K, C, R and S, in the order of the arrays' axes."""
    first, channels, *image = axes
    return (first, *image, channels) if channels_last else tuple(axes)


def from_layout(axes: Sequence[T], channels_last: bool) -> tuple[T, ...]:
    """What in_layout() was given."""
    first, *others = axes
    return (first, others[-1], *others[:-1]) if channels_last else tuple(axes)


def shape(operation: str, argument: str, given: Any, names: tuple[str, ...], channels_last: bool) -> tuple[int, ...]:
    """The extents of these axes, which are named and returned channels first; ValueError where there are others."""
    return from_layout(checks.shape(operation, argument, given, in_layout(names, channels_last)), channels_last)


def image(operation: str, argument: str, given: Any, rank: int, channels_last: bool) -> tuple[int, ...]:
    """(N, C, *X) of an image of `rank` axes."""
    return shape(operation, argument, given, ("N", "C", *"DHW"[-rank:]), channels_last)


def windows_text(channels: str, rank: int, channels_last: bool) -> str:
    """What messages call the shape of an output: "(N, K, P, Q)"."""
    return f"({', '.join(in_layout(('N', channels, *'ZPQ'[-rank:]), channels_last))})"


class InLayout:
    """The geometry of an operation on images."""

    channels_last: bool

    @property
    def rank(self) -> int:
        raise NotImplementedError

    def in_layout(self, *axes: T) -> tuple[T, ...]:
        return in_layout(axes, self.channels_last)

    @cached_property
    def channels_first(self: G) -> G:
        """The same of arrays whose channels stand before the image's axes."""
        return replace(self, channels_last=False)  # type: ignore[type-var]


def by_channels_first(compute: F) -> F:
    """A path's function that is written for channels first: arrays of channels last are given to it as views, and what
    it returns is copied to their layout."""

    @wraps(compute)
    def call(*arguments: Any) -> Any:
        *arrays, geometry = arguments
        if not geometry.channels_last:
            return compute(*arguments)
        result = compute(*map(to_channels_first, arrays), geometry.channels_first)
        if isinstance(result, tuple):
            return tuple(_in_place(a, geometry.rank) for a in result)
        return _in_place(result, geometry.rank)

    return call  # type: ignore[return-value]


def to_channels_first(a: Any) -> Any:
    """A view, also of a bias (K, 1, 1); a bias may be (K,), or None."""
    return a if a is None or a.ndim == 1 else a.transpose(0, a.ndim - 1, *range(1, a.ndim - 1))


def to_channels_last(a: Any) -> Any:
    """The view that to_channels_first() was given."""
    return a.transpose(0, *range(2, a.ndim), 1)


def _in_place(a: Any, rank: int) -> Any:
    """A bias gradient is (K,); what belongs to channels alone stays."""
    if a.ndim <= rank + 1:
        return a.reshape(-1)
    a = to_channels_last(a)
    return a if a.flags.c_contiguous else a.copy()
