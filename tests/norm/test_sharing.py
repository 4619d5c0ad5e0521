"""How groups of elements are shared among blocks: every vector once, by the shape alone; too large ones are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backstride.conformance import calls
from backstride.kernels import OPERATIONS
from backstride.kernels.cuda.offline.dryrun import Device, dry_run
from backstride.kernels.norm import cuda
from backstride.kernels.norm.geometry import BatchNormGeometry
from backstride.kernels.norm.sharing import THREADS, Sharing
from backstride.kernels.norm.words import Matrix
from backstride.kernels.operation import Case


@given(
    number=st.integers(1, 600),
    runs=st.integers(0, 300),
    run=st.integers(1, 3000),
    itemsize=st.sampled_from([2, 4, 8]),
)
def test_parts_and_lanes_cover_a_group(number, runs, run, itemsize):
    s = Sharing.of(number, runs, run, number * run, alike=run, itemsize=itemsize)
    assert s.vec * itemsize <= 16
    assert s.vectors * s.vec == runs * run
    assert s.stride * s.vec == number * run
    assert (s.parts - 1) * s.part_vectors <= s.vectors <= s.parts * s.part_vectors
    assert THREADS % s.lanes == 0
    assert s.part_blocks * (THREADS // s.lanes) >= number
    assert s.parts == 1 or s.part_vectors >= 8 * s.lanes  # as many as a thread sums, or else its block does it all


@given(pixels=st.integers(1, 10**6), channels=st.integers(1, 3000), itemsize=st.sampled_from([2, 4, 8]))
def test_parts_and_words_cover_a_matrix(pixels, channels, itemsize):
    m = Matrix.of(pixels, channels, itemsize)
    assert m.vec * itemsize <= 16
    assert channels % m.vec == 0
    assert (m.word_blocks - 1) * m.words * m.vec < channels <= m.word_blocks * m.words * m.vec
    part, sharers = m.values()["part_pixels"], m.values()["sharers"]
    assert (m.parts - 1) * part <= pixels <= m.parts * part
    assert 1 <= m.words * sharers <= THREADS
    assert m.parts == 1 or part >= 8 * sharers


def launches(x, **options):
    """The names and grids of batch_norm and its gradients."""
    found = []
    for name in ("batch_norm", "batch_norm_grads"):
        arguments = calls.call(OPERATIONS[name], Case("", x, options=options), calls.bare(np.dtype(np.float32)))
        found += dry_run(getattr(cuda, name), arguments, Device(90, 132)).launches
    return found


def test_a_small_channel_takes_one_launch_and_a_large_one_two():
    assert [each.entry for each in launches((64, 64, 8, 8))] == ["normalise", "norm_input_grad"]
    large = launches((128, 64, 56, 56), activation="relu")
    assert [each.entry for each in large] == ["norm_statistics", "normalise", "norm_sums", "norm_input_grad"]
    assert all(each.blocks == 1024 for each in large)  # more than an H200's 132 SMs run at once is no gain


def test_pixels_by_channels_are_read_by_words_where_blocks_share_them():
    """Of images with channels last as of samples; fewer stay with the kernels of one launch."""
    for x, options in (((32, 56, 56, 64), {"layout": "NHWC"}), ((32 * 56 * 56, 64), {})):
        found = launches(x, **options)
        forward, backward = [each.entry for each in found[:3]], [each.entry for each in found[3:]]
        assert forward == ["word_statistics", "word_moments", "word_normalise"]
        assert backward == ["word_sums", "split_sum", "split_sum", "word_input_grad"]
        assert {each.defines["VEC"] for each in found if each.entry == "word_normalise"} == {"4"}
    assert not any(each.entry.startswith("word") for each in launches((8, 20, 20, 64), layout="NHWC"))


def test_relu_reads_y_only_after_a_residual():
    """Without one the mask follows from x, which is read anyway; with one its gradient takes the place of dy and y."""
    masks = [each.defines["MASK"] for each in launches((128, 64, 56, 56), activation="relu")[2:]]
    assert masks == ["1", "1"]
    masks = [each.defines["MASK"] for each in launches((128, 64, 56, 56), activation="relu", residual=True)[2:]]
    assert masks == ["2", "0"]


def test_a_channel_of_more_than_31_bits_is_refused():
    with pytest.raises(ValueError, match="normalisation: elements of a channel is 4294967296; expected less than"):
        launches((4, 1, 2**30))


def test_more_elements_than_31_bits_are_counted_in_64():
    """Channels of 2**28 elements, of which the last begins at 2**32."""
    g = BatchNormGeometry.of("batch_norm", (2**14, 17, 2**14), eps=1e-5)
    s = Sharing.of(g.C, g.N, g.plane, g.C * g.plane, alike=g.plane, itemsize=4)
    assert s.vec == 4
    assert s.values()["stride"] == 17 * 2**12
    assert s.vectors == 2**26
