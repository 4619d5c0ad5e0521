"""backstride.capture: replays are the eager steps to the last bit, on memory of their own, and what cannot be captured
is said. On a real GPU where there is one, and on the emulator, whose streams record."""

from __future__ import annotations

import math

import emulator
import numpy as np
import pytest
from cupys import emulated, no_waiting, real

import backstride
from backstride import optim
from backstride.layers import AvgPool2d, Conv2d, CrossEntropyLoss, Flatten, Linear, MaxPool2d, ReLU, Sequential

RULES = [
    (optim.SGD, {"lr": 0.3}),
    (optim.SGD, {"lr": 0.3, "momentum": 0.9}),
    (optim.SGD, {"lr": 0.3, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (optim.Adam, {"lr": 0.03}),
    (optim.AdamW, {"lr": 0.03, "weight_decay": 0.1}),
]


@pytest.fixture(params=[emulated, real], ids=["emulated", "real"])
def cupy(request, monkeypatch):
    with request.param(monkeypatch) as module:
        yield module


class Training:
    """A network with every layer, its optimizer, and one step of both."""

    def __init__(self, rule=optim.SGD, dtype="float32", layout="NCHW", **options):
        self.net = Sequential(
            Conv2d(2, 3, (3, 2), stride=2, padding=1, layout=layout, dtype=dtype, rng=1),
            ReLU(),
            MaxPool2d(2, stride=1, layout=layout),
            AvgPool2d(2, stride=1, layout=layout),
            Flatten(),
            Linear(3 * 2 * 3, 4, dtype=dtype, rng=2),
        )
        self.loss = CrossEntropyLoss()
        self.optimizer = rule(self.net.parameters(), **options or {"lr": 0.1})

    def step(self, images, labels):
        value = self.loss(self.net(images), labels)
        self.net.zero_grad()
        self.net.backward(self.loss.backward(), needs_input_grad=False)
        self.optimizer.step()
        return value

    def state(self):
        return {**self.net.state_dict(), **self.optimizer.state_dict()}


def batch(rng, cupy, n=4, dtype="float32"):
    images = rng.standard_normal((n, 2, 8, 9)).astype(dtype)
    return cupy.asarray(images), cupy.asarray(rng.integers(0, 4, n))


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in found.items():
        assert array.get().tobytes() == expected[name].get().tobytes(), name


@pytest.mark.parametrize(("rule", "options"), RULES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_replays_are_eager_steps(rule, options, dtype, cupy, rng):
    eager, captured = Training(rule, dtype, **options), Training(rule, dtype, **options)
    step = backstride.capture(captured.step)
    for _ in range(5):
        images, labels = batch(rng, cupy, dtype=dtype)
        # the eager steps in between take all memory that is free
        expected, found = eager.step(images, labels), step(images, labels)
        assert found.get().tobytes() == expected.get().tobytes()
        assert_same(captured.state(), eager.state())
    assert captured.optimizer.steps == 5


def test_replays_with_channels_last(cupy, rng):
    eager, captured = Training(layout="NHWC"), Training(layout="NHWC")
    step = backstride.capture(captured.step)
    for _ in range(4):
        images, labels = batch(rng, cupy)
        images = cupy.ascontiguousarray(images.transpose(0, 2, 3, 1))
        expected, found = eager.step(images, labels), step(images, labels)
        assert found.get().tobytes() == expected.get().tobytes()
        assert_same(captured.state(), eager.state())


def test_a_replay_allocates_nothing_and_does_not_wait(cupy, rng):
    def refuse(size):
        raise AssertionError(f"a replay allocated {size} bytes")

    step = backstride.capture(Training().step)
    batches = [batch(rng, cupy) for _ in range(4)]
    for images, labels in batches[:2]:
        step(images, labels)
    before = emulator.allocations()
    with no_waiting(), cupy.cuda.using_allocator(refuse):
        for images, labels in batches[2:]:
            step(images, labels)
    assert emulator.allocations() == before


def test_the_learning_rate_may_change_between_steps(cupy, rng):
    eager, captured = Training(), Training()
    step = backstride.capture(captured.step)
    for lr in (0.1, 0.2, 0.0, 0.5):
        eager.optimizer.lr = captured.optimizer.lr = lr
        images, labels = batch(rng, cupy)
        eager.step(images, labels)
        step(images, labels)
        assert_same(captured.state(), eager.state())


def test_the_learning_rate_may_not_change_inside(cupy, rng):
    training = Training()

    def step(images, labels):
        training.optimizer.lr *= 0.5
        return training.step(images, labels)

    captured = backstride.capture(step)
    captured(*batch(rng, cupy))
    with pytest.raises(RuntimeError, match=r"cannot be captured \(SGD: lr is set in a captured step; expected it betw"):
        captured(*batch(rng, cupy))
    assert training.optimizer.lr == 0.05


def test_a_loaded_state_is_replayed(cupy, rng):
    eager, captured = Training(optim.Adam), Training(optim.Adam)
    step = backstride.capture(captured.step)
    for _ in range(3):
        step(*batch(rng, cupy))
    captured.net.load_state_dict(eager.net.state_dict())
    captured.optimizer.load_state_dict(eager.optimizer.state_dict())
    images, labels = batch(rng, cupy)
    eager.step(images, labels)
    step(images, labels)
    assert_same(captured.state(), eager.state())


def test_batches_of_another_size_run_uncaptured(cupy, rng):
    eager, captured = Training(), Training()
    step = backstride.capture(captured.step)
    for n in (4, 4, 4, 1, 4, 3):
        images, labels = batch(rng, cupy, n)
        expected = eager.step(images, labels)
        found = (step if n == 4 else captured.step)(images, labels)
        assert float(found) == float(expected)
    assert_same(captured.state(), eager.state())


def test_an_empty_batch(cupy, rng):
    captured = Training()
    step = backstride.capture(captured.step)
    before = captured.net.state_dict()
    images, labels = batch(rng, cupy, 0)
    assert all(math.isnan(float(step(images, labels))) for _ in range(3))
    assert_same(captured.net.state_dict(), before)


def test_any_structure_of_any_arrays(cupy):
    total = cupy.zeros(3, np.float32)

    def step():
        total[...] += 1
        return {"total": total, "twice": (2 * total, None)}

    captured = backstride.capture(step)
    for count in (1, 2, 3):
        found = captured()
        assert found["total"].get().tolist() == [count] * 3
        assert found["twice"][0].get().tolist() == [2 * count] * 3


def test_inputs_of_any_strides_are_copied(cupy, rng):
    captured = backstride.capture(lambda a: a * 2)
    for layout in (lambda a: a[:, :4], lambda a: a[:, 4:].T, lambda a: a[::-1, ::2]):
        given = layout(cupy.asarray(rng.standard_normal((4, 8)).astype(np.float32)))
        expected = 2 * given.get()
        found = captured(given)
        given[...] = 0
        np.testing.assert_array_equal(found.get(), expected)


WAITS = {
    "get": lambda cupy, y: y.get(),
    "float": lambda cupy, y: float(y.sum()),
    "if": lambda cupy, y: 1 if y.sum() > 0 else 2,
    "print": lambda cupy, y: print(y),
    "synchronize": lambda cupy, y: backstride.synchronize(),
    "to_numpy": lambda cupy, y: backstride.to_numpy(y),
    "asarray": lambda cupy, y: backstride.asarray(np.ones(3)),
}


@pytest.mark.parametrize("waits", WAITS)
def test_a_step_that_waits(waits, cupy, rng):
    inside = True

    def step(x):
        y = x * 2
        if inside:
            WAITS[waits](cupy, y)
        return y

    captured, x = backstride.capture(step), rng.standard_normal((2, 3)).astype(np.float32)
    captured(cupy.asarray(x))
    with pytest.raises(RuntimeError, match=r"captured step: it cannot be captured \(.*\); expected a step that never"):
        captured(cupy.asarray(x))
    inside = False
    for _ in range(2):  # nothing is left over from the attempt
        np.testing.assert_array_equal(captured(cupy.asarray(x)).get(), x * 2)


@pytest.mark.parametrize("error", [ValueError("wrong"), RuntimeError("backward was called before forward")])
def test_errors_of_the_step_itself(error, cupy):
    calls = []

    def step(x):
        calls.append(x)
        if len(calls) == 2:
            raise error
        return x + 1

    captured, x = backstride.capture(step), cupy.zeros(2, np.float32)
    captured(x)
    with pytest.raises(type(error)) as raised:
        captured(x)
    assert raised.value is error
    for _ in range(3):
        assert captured(x).get().tolist() == [1, 1]
    assert len(calls) == 3


def test_wrong_inputs(cupy):
    captured = backstride.capture(lambda x, y: x + y)
    x = cupy.zeros((2, 3), np.float32)
    with pytest.raises(TypeError, match=r"input 1 is a ndarray; expected a cupy\.ndarray: move it"):
        captured(x, np.zeros((2, 3), np.float32))
    captured(x, x)
    for _ in range(2):  # before it is captured, and after
        with pytest.raises(ValueError, match="the number of inputs is 1; expected 2, as at first"):
            captured(x)
        with pytest.raises(ValueError, match=r"input 1 is float32 \(1, 3\) on device 0; expected float32 \(2, 3\) on"):
            captured(x, x[:1])
        with pytest.raises(ValueError, match=r"input 0 is float64 \(2, 3\) on device 0; expected float32 \(2, 3\) on"):
            captured(x.astype(np.float64), x)
        captured(x, x)


@pytest.mark.parametrize("name", ["numpy", "compare"])
def test_other_backends(name, cupy):
    captured = backstride.capture(lambda x: x)
    with backstride.use_backend(name):
        message = f"the backend is '{name}'; expected 'cupy'"
        with pytest.raises(backstride.BackendUnavailableError, match=message):
            backstride.capture(lambda x: x)
        with pytest.raises(backstride.BackendUnavailableError, match=message):
            captured(cupy.zeros(1))


def test_g12_calls_on_alternating_streams_are_ordered(cupy, rng, monkeypatch):
    """A stream that did not make the last call is told to wait for its end; the emulator's runs all at once, so that
    what it is told is looked at."""
    told, is_emulated = [], hasattr(cupy.cuda.Event(), "recorded_on")

    def note(stream, event):
        told.append((stream, event.recorded_on))

    if is_emulated:
        monkeypatch.setattr(cupy.cuda.Stream, "wait_event", note)
    eager, captured = Training(), Training()
    step = backstride.capture(captured.step)
    streams = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
    # Kept until the end: this stream, whose memory they are, does not know when the others have read them.
    batches = [batch(rng, cupy) for _ in range(6)]
    cupy.cuda.get_current_stream().synchronize()
    for call, (images, labels) in enumerate(batches):
        eager.step(images, labels)
        with streams[call % 2]:
            step(images, labels)
    for stream in streams:
        stream.synchronize()
    assert_same(captured.state(), eager.state())
    if is_emulated:
        assert told == [(streams[call % 2], streams[1 - call % 2]) for call in range(1, 6)]
