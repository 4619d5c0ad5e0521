"""Transposed convolution and its gradients at shapes that hypothesis draws: depthwise and grouped, with output padding
from the stride or from the dilation, with padding on either side, along one to three axes."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from accuracy import assert_exact
from hypothesis import given, settings
from hypothesis import strategies as st

from backstride import jit, kernels
from backstride.kernels.conv import checked


@st.composite
def transposed(draw):
    """The shapes of x and w, and the options; output padding is less than the stride or the dilation."""
    rank = draw(st.integers(1, 3))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    groups, channels = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    stride, dilation, taps, extents = each(1, 3), each(1, 3), each(1, 4), each(1, 5 if rank < 3 else 3)
    extra = tuple(draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True))
    sizes = ((n - 1) * s + d * (r - 1) + 1 for n, s, d, r in zip(extents, stride, dilation, taps, strict=True))
    sides = []
    for size, more in zip(sizes, extra, strict=True):
        before = draw(st.integers(0, min(3, size + more - 1)))
        sides.append((before, draw(st.integers(0, min(3, size + more - 1 - before)))))
    x = (draw(st.integers(0, 2)), groups * channels, *extents)
    w = (groups * channels, draw(st.integers(1, 2)), *taps)
    return x, w, {"stride": stride, "dilation": dilation, "padding": tuple(sides), "groups": groups}, extra


@pytest.mark.parametrize("loops", [False, True], ids=["plain", "compiled"])
@given(case=transposed(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=150)
def test_values_and_gradients(loops, case, seed):
    if loops and jit.missing():
        pytest.skip(f"no compiled loops here: {jit.missing()}")
    x_shape, w_shape, options, output_padding = case
    rank, rng = len(x_shape) - 2, np.random.default_rng(seed)
    x, w = (rng.integers(-4, 5, shape).astype(np.float64) for shape in (x_shape, w_shape))
    transpose = getattr(kernels, f"conv_transpose{rank}d")
    with jit.use_jit(loops):
        y = transpose(x, w, output_padding=output_padding, **options)
        assert_exact(y, reference.conv_transpose(x, w, output_padding=output_padding, **options))
        dy = rng.integers(-4, 5, y.shape).astype(np.float64)
        dx = checked.transpose_input_grad(rank, dy, w, x.shape, output_padding=output_padding, **options)
        dw = checked.transpose_weight_grad(rank, dy, x, w.shape, output_padding=output_padding, **options)
    # linear in each: what a gradient says of a change is exact in small integers
    change = rng.integers(-4, 5, x.shape).astype(np.float64)
    moved = reference.conv_transpose(change, w, output_padding=output_padding, **options)
    assert (dy * moved).sum() == (dx * change).sum()
    change = rng.integers(-4, 5, w.shape).astype(np.float64)
    moved = reference.conv_transpose(x, change, output_padding=output_padding, **options)
    assert (dy * moved).sum() == (dw * change).sum()
