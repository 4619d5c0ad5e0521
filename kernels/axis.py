"""Shapes of every operation: the checks on extents and options, and the output sizes, written once.

Extents: x is (N, C, H, W), w is (K, C/groups, R, S), y is (N, K, P, Q). A tap (r, s) is a position inside the
window, numbered r*S + s. Window p starts at input row p*stride - top padding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from . import checks
from .checks import Padding, Pair, value_error

Shape4 = tuple[int, int, int, int]
F = TypeVar("F", bound=Callable[..., Any])

_MOST_KEPT = 4096


def kept(of: F) -> F:
    """A constructor that is checked and computed once for equal arguments.

    They are equal where their texts are: that tells True from 1, and a list needs no hash.
    """
    kept: dict[str, Any] = {}

    @functools.wraps(of)
    def call(*arguments: Any, **options: Any) -> Any:
        key = repr((arguments, options))
        found = kept.get(key)
        if found is None:
            if len(kept) >= _MOST_KEPT:
                kept.clear()
            found = kept[key] = of(*arguments, **options)
        return found

    return call  # type: ignore[return-value]


@dataclass(frozen=True)
class Window:
    """A sliding window along both axes: kernel extents, stride, dilation and resolved padding."""

    kernel: Pair
    stride: Pair
    padding: Padding
    dilation: Pair

    @classmethod
    def parse(cls, operation: str, extents: Pair, kernel: Pair, stride: Any, padding: Any, dilation: Any) -> Window:
        """Check the options and resolve the padding ('valid' and 'same' too) for an input of these extents."""
        stride = checks.pair(operation, "stride", stride, 1)
        dilation = checks.pair(operation, "dilation", dilation, 1)
        if padding == "valid":
            resolved: Padding = ((0, 0), (0, 0))
        elif padding == "same":
            top_bottom, left_right = (_same_padding(extents[i], kernel[i], stride[i], dilation[i]) for i in (0, 1))
            resolved = (top_bottom, left_right)
        elif isinstance(padding, str):
            forms = "an int, an (h, w) pair, ((top, bottom), (left, right)), 'valid' or 'same'"
            raise value_error(operation, "padding", repr(padding), forms)
        else:
            resolved = checks.explicit_padding(operation, padding)
        return cls(kernel, stride, resolved, dilation)

    def reach(self, axis: int) -> int:
        """Input rows (axis 0) or columns (axis 1) from the first tap to the last."""
        return self.dilation[axis] * (self.kernel[axis] - 1)

    def count(self, axis: int, extent: int, ceil_mode: bool = False) -> int:
        """How many windows fit along an axis: floor((extent + padding - reach - 1) / stride) + 1.

        ceil_mode rounds up, but a last window that would start past the input and the leading padding does
        not count (PyTorch's rule, aten/src/ATen/native/Pool.h).
        """
        before, after = self.padding[axis]
        stride = self.stride[axis]
        free = extent + before + after - self.reach(axis) - 1
        if not ceil_mode:
            return free // stride + 1
        count = -(-free // stride) + 1
        return count - 1 if (count - 1) * stride >= extent + before else count


def _same_padding(extent: int, kernel: int, stride: int, dilation: int) -> Pair:
    """Padding for ceil(extent / stride) windows; the odd element goes to the bottom or right."""
    windows = -(-extent // stride)
    total = max(0, (windows - 1) * stride + dilation * (kernel - 1) + 1 - extent)
    return total // 2, total - total // 2


def check_extents(operation: str, argument: str, extents: Pair) -> None:
    for name, extent in zip("HW", extents, strict=True):
        if extent < 1:
            raise value_error(operation, f"{argument} extent {name}", extent, "at least 1")


def check_fits(operation: str, window: Window, extents: Pair, counts: Pair) -> None:
    for axis, name in ((0, "height"), (1, "width")):
        if counts[axis] < 1:
            padded = extents[axis] + sum(window.padding[axis])
            raise value_error(
                operation,
                f"the window's {name} (dilation*(kernel_size-1)+1)",
                window.reach(axis) + 1,
                f"at most the padded input's {padded}",
            )
