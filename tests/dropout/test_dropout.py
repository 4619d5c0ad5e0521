"""Dropout: the published numbers of its generator, one mask on every path, and what its layer promises."""

from __future__ import annotations

import emulator
import numpy as np
import pytest
import reference
from accuracy import DTYPES, assert_accurate, dtype_of, normal
from cupys import emulated, real

import backstride
from backstride import explain, kernels
from backstride.kernels.cpu.philox import philox
from backstride.kernels.cpu.pieces import PIECES
from backstride.kernels.dropout.cases import DROPOUT
from backstride.kernels.dropout.cpu import LEAST
from backstride.layers import Dropout, Linear, Sequential

AT = np.array([2, 1, 5], np.uint32)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_known_answers(counter, key, words):
    """Those that the authors publish (Random123, kat_vectors)."""
    assert philox(*counter, key=tuple(key)).tolist() == words
    seed = key[0] + (key[1] << 32)
    assert reference.philox(counter, seed) == words


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", DROPOUT, ids=str)
def test_value(path, case, dtype, rng):
    x = normal(rng, case.x, dtype)
    y = path.run(kernels.dropout, x.astype(dtype_of(dtype)), AT, **case.options)
    exact = reference.dropout(x, AT, **case.options)
    np.testing.assert_array_equal(y.astype(float) == 0, exact == 0)
    assert_accurate(y, exact, np.abs(exact), 2)  # 1 / (1 - p), and a product


def test_pieces_of_work_join(rng):
    """More fours than one thread takes at a time, with a tail."""
    x = np.ones(4 * LEAST * PIECES // 2 + 3, np.float32)
    whole = kernels.dropout(x, AT, p=0.5, seed=9)
    at = slice(4 * LEAST - 8, 4 * LEAST + 9)
    expected = reference.dropout(x[: at.stop], AT, p=0.5, seed=9)
    np.testing.assert_array_equal(whole[at], expected[at])
    assert whole.mean() == pytest.approx(1, abs=5 / np.sqrt(x.size))  # five standard deviations


def test_what_is_dropped_is_0_whatever_it_was(path):
    x = np.full(64, np.nan, np.float32)
    x[::2] = np.inf
    y = path.run(kernels.dropout, x, AT, p=0.5, seed=1)
    dropped = reference.dropout(np.ones(64), AT, p=0.5, seed=1) == 0
    np.testing.assert_array_equal(y, np.where(dropped, 0, x))


def test_positions_and_seeds_have_masks_of_their_own(path):
    def mask(position, seed):
        return path.run(kernels.dropout, np.ones(512, np.float32), np.array(position, np.uint32), p=0.5, seed=seed) > 0

    first = mask([0, 0, 0], 0)
    for other in (
        mask([1, 0, 0], 0),
        mask([0, 1, 0], 0),
        mask([0, 0, 1], 0),
        mask([0, 0, 0], 1),
        mask([0, 0, 0], 2**32),
    ):
        assert 160 < (first != other).sum() < 352  # 256, give or take eight standard deviations


@pytest.mark.parametrize("shape", [(), (0,), (3, 0)])
def test_any_number_of_axes(path, shape):
    y = path.run(kernels.dropout, np.ones(shape, np.float32), AT, p=0.5, seed=0)
    assert (y.shape, y.dtype) == (shape, np.float32)


def test_one_launch():
    with emulator.installed() as cupy, emulator.record_launches() as launches:
        kernels.dropout(cupy.asarray(np.ones(7, np.float32)), cupy.asarray(AT), p=0.5, seed=0)
    assert [launch.name for launch in launches] == ["dropout"]


@pytest.mark.parametrize(
    ("x", "position", "options", "kind", "message"),
    [
        (np.ones(3), AT, {"p": -0.1, "seed": 0}, ValueError, "p is -0.1; expected a number from 0 to 1"),
        (np.ones(3), AT, {"p": "a", "seed": 0}, ValueError, "p is 'a'; expected a number from 0 to 1"),
        (np.ones(3), AT, {"p": np.nan, "seed": 0}, ValueError, "p is nan; expected a number from 0 to 1"),
        (np.ones(3), AT, {"p": 0.5, "seed": -1}, ValueError, "seed is -1; expected an int >= 0"),
        (np.ones(3), AT, {"p": 0.5, "seed": 2**64}, ValueError, r"seed is 18446744073709551616; expected an int below"),
        (
            np.ones(3),
            AT[:2],
            {"p": 0.5, "seed": 0},
            ValueError,
            r"position.shape is \(2,\); expected \(3,\), that",
        ),
        (np.ones(3), np.zeros(3), {"p": 0.5, "seed": 0}, TypeError, "position.dtype is float64; expected uint32"),
        (np.ones(3, int), AT, {"p": 0.5, "seed": 0}, TypeError, "x.dtype is int64; expected"),
        (np.broadcast_to(np.float32(0), (2**20, 2**15)), AT, {"p": 0.5, "seed": 0}, ValueError, "x.shape is"),
    ],
)
def test_bad_arguments(x, position, options, kind, message):
    with pytest.raises(kind, match=f"^dropout: {message}"):
        kernels.dropout(x, position, **options)


def test_layer(path, rng):
    """Masks follow one another, backward draws forward's again, and a seed gives the same on every path."""
    layer, plain = Dropout(0.25, rng=3), Dropout(0.25, rng=3)
    x, dy = rng.standard_normal((2, 6, 35)).astype(np.float32)
    masks = []
    for call in range(3):
        assert layer.position == (call, 0, 0)
        y, dx = path.to_numpy(layer(path.asarray(x))), path.to_numpy(layer.backward(path.asarray(dy)))
        np.testing.assert_array_equal(y, plain(x))
        np.testing.assert_array_equal(dx, plain.backward(dy))
        np.testing.assert_array_equal(y == 0, dx == 0)
        masks.append(y == 0)
    assert not np.array_equal(masks[0], masks[1])
    layer.position = (1, 0, 0)
    np.testing.assert_array_equal(path.to_numpy(layer(path.asarray(x))) == 0, masks[1])
    layer.position = (0, 2, 7)
    expected = reference.dropout(x.astype(float), np.array([0, 2, 7]), p=0.25, seed=layer.seed)
    np.testing.assert_allclose(path.to_numpy(layer(path.asarray(x))), expected, rtol=1e-6)


def test_evaluation_is_the_identity(rng):
    layer, x = Dropout(0.5, rng=0), rng.standard_normal((3, 4))
    layer.eval()
    assert layer(x) is x
    assert layer.position == (0, 0, 0)
    with pytest.raises(RuntimeError, match="backward was called before forward in training mode"):
        layer.backward(x)


def test_what_a_layer_says():
    layer = Dropout(0.2)
    assert repr(layer) == "Dropout(0.2)"
    assert layer.seed != Dropout(0.2).seed
    assert layer.state_dict() == {}
    with pytest.raises(ValueError, match=r"^Dropout: p is 2; expected a number from 0 to 1"):
        Dropout(2)
    layer(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"^Dropout.backward: dy.shape is \(3,\); expected \(2, 3\), that is"):
        layer.backward(np.zeros(3))
    layer(np.zeros((2, 3)))
    assert layer.backward(np.zeros((2, 3)), needs_input_grad=False) is None


def test_explained():
    explanation = explain(Sequential(Linear(6, 5, dtype="float64", rng=0), Dropout(0.4, rng=1)), (4, 6))
    assert explanation.agrees
    for index in np.ndindex(4, 5):
        terms = explanation.term("dropout.dx", index)
        assert terms.total == pytest.approx(terms.computed, rel=1e-15)


@pytest.fixture(params=[emulated, real], ids=["emulated", "real"])
def cupy(request, monkeypatch):
    with request.param(monkeypatch) as module:
        yield module


def test_a_captured_step_advances(cupy, rng):
    eager, captured = Dropout(0.5, rng=5), Dropout(0.5, rng=5)

    def run(layer, x, dy):
        return layer(x), layer.backward(dy)

    step = backstride.capture(lambda x, dy: run(captured, x, dy))
    masks = set()
    for _ in range(5):
        x, dy = (cupy.asarray(a) for a in rng.standard_normal((2, 4, 16)).astype(np.float32))
        found, expected = step(x, dy), run(eager, x, dy)
        for one, other in zip(found, expected, strict=True):
            assert one.get().tobytes() == other.get().tobytes()
        masks.add((found[0].get() == 0).tobytes())
    assert len(masks) == 5
    assert captured.position == eager.position == (5, 0, 0)


@pytest.mark.torch
def test_as_much_is_dropped_as_by_pytorch(rng):
    """Their masks differ: the share that is dropped and the scale are what can be compared."""
    torch = pytest.importorskip("torch")
    x, p = np.ones(40_000, np.float32), 0.3
    ours, theirs = Dropout(p, rng=0)(x), torch.nn.functional.dropout(torch.from_numpy(x), p).numpy()
    for y in (ours, theirs):
        assert (y == 0).mean() == pytest.approx(p, abs=0.0115)  # five standard deviations
        np.testing.assert_allclose(y[y != 0], 1 / (1 - p), rtol=1e-6)
