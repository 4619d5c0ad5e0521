"""Optimizers on CuPy: the bits of NumPy, one launch for each dtype, replays, several devices, and planted faults. On a
real GPU where there is one, and on the emulator."""

from __future__ import annotations

import emulator
import numpy as np
import pytest
from accuracy import dtype_of
from cupys import emulated, no_waiting, real

import backstride
from backstride.layers import Parameter
from backstride.optim import SGD, Adam, AdamW, GradScaler, clip_grad_norm

RULES = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True}),
    (Adam, {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (AdamW, {"lr": 0.02, "weight_decay": 0.3}),
]
SHAPES = ((3, 1400), (), (0, 2), (7,), (4096,))
"""More than a piece, which is 4,096 elements, less, a whole one, and nothing."""


@pytest.fixture(params=[emulated, real], ids=["emulated", "real"])
def cupy(request, monkeypatch):
    with request.param(monkeypatch) as module:
        yield module


def values(rng, dtype, shapes=SHAPES):
    return [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in shapes]


def give(held, gradients, xp=np):
    for p, gradient in zip(held, gradients, strict=True):
        p.grad = xp.asarray(gradient.copy())


def assert_same(on_device, on_host):
    assert on_device.keys() == on_host.keys()
    for name, array in on_device.items():
        assert array.get().tobytes() == np.asarray(on_host[name]).tobytes(), name


@pytest.mark.parametrize(("rule", "options"), RULES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_bits_of_numpy(rule, options, dtype, cupy, rng):
    dtype = dtype_of(dtype)
    start = values(rng, dtype)
    here, there = [Parameter(a.copy()) for a in start], [Parameter(cupy.asarray(a)) for a in start]
    schedule = [0.5, 1.0, 0.7]
    groups = [{"parameters": slice(0, 2)}, {"parameters": slice(2, 5), "lr": 0.3, "weight_decay": 0.01}]
    ours, reference = (
        rule([{**group, "parameters": held[group["parameters"]]} for group in groups], schedule=schedule, **options)
        for held in (there, here)
    )
    for place in range(4):
        gradients = values(rng, dtype)
        give(here, gradients)
        give(there, gradients, cupy)
        if place == 1:
            here[3].grad = there[3].grad = None
        if place == 2:
            ours.skip_step(True)
            reference.skip_step(True)
        with no_waiting():
            norm = clip_grad_norm(ours, 60.0)
            ours.step()
        assert norm.get().tobytes() == clip_grad_norm(reference, 60.0).tobytes()
        reference.step()
        assert ours.steps == reference.steps
    for p, q in zip(there, here, strict=True):
        assert p.data.get().tobytes() == q.data.tobytes()
    assert_same(ours.state_dict(), reference.state_dict())


def test_folded_gradients_of_16_bit_parameters(cupy, rng):
    start, gradients = values(rng, np.float16), values(rng, np.float32)
    here, there = [Parameter(a.copy()) for a in start], [Parameter(cupy.asarray(a)) for a in start]
    ours, reference = Adam(there), Adam(here)
    ours.gradients, reference.gradients = [cupy.asarray(g) for g in gradients], gradients
    for optimizer in (ours, reference):
        clip_grad_norm(optimizer, 1.0)
        optimizer.step()
    assert_same(ours.state_dict(), reference.state_dict())
    for p, q in zip(there, here, strict=True):
        assert p.data.get().tobytes() == q.data.tobytes()


@pytest.mark.emulated
@pytest.mark.parametrize(("rule", "options"), RULES)
def test_one_launch_for_each_dtype(rule, options, rng, monkeypatch):
    """And one before them that counts the step and computes what depends on it."""
    with emulated(monkeypatch) as cupy:
        check_launches(rule, options, cupy, rng)


def check_launches(rule, options, cupy, rng):
    held = [Parameter(cupy.asarray(a)) for dtype in (np.float32, np.float16) for a in values(rng, dtype)]
    give(held, [p.data.get() for p in held], cupy)
    optimizer = rule(held, **options)
    with emulator.record_launches() as launches:
        optimizer.step()
        allocated = emulator.allocations()
        optimizer.step()
    assert emulator.allocations() == allocated  # the table is there
    assert [launch.name for launch in launches] == ["begin_step", "step", "step"] * 2
    assert launches[1].grid == (2 + 1 + 1 + 1, 1, 1)  # pieces


def test_arrays_of_any_strides(cupy, rng):
    a, g = rng.standard_normal((2, 5, 6)).astype(np.float32)
    plain, strided = Parameter(cupy.asarray(a)), Parameter(cupy.asarray(np.asfortranarray(a)))
    assert not strided.data.flags.c_contiguous
    plain.grad, strided.grad = cupy.asarray(g), cupy.asarray(np.repeat(g, 2, axis=1))[:, ::2]
    for p in (plain, strided):
        optimizer = Adam([p])
        for _ in range(2):
            clip_grad_norm(optimizer, 1.0)
            optimizer.step()
    assert not strided.data.flags.c_contiguous
    assert strided.data.get().tobytes() == plain.data.get().tobytes()


def test_gradients_that_move(cupy, rng):
    """The table is built again."""
    here, there = Parameter(np.zeros(5)), Parameter(cupy.zeros(5))
    ours, reference = SGD([there], lr=1.0), SGD([here], lr=1.0)
    kept = []
    for _ in range(3):
        here.grad = rng.standard_normal(5)
        there.grad = cupy.asarray(here.grad)
        kept.append(there.grad)
        ours.step()
        reference.step()
    assert there.data.get().tobytes() == here.data.tobytes()


def test_parameters_on_two_devices(cupy, rng):
    start, gradients = values(rng, np.float32), values(rng, np.float32)

    def trained(devices):
        held = []
        for a, g, device in zip(start, gradients, devices, strict=True):
            with cupy.cuda.Device(device):
                held.append(Parameter(cupy.asarray(a)))
                held[-1].grad = cupy.asarray(g)
        optimizer, scaler = Adam(held), GradScaler()
        for overflow in (False, True, False):
            if overflow:
                with held[0].data.device:
                    held[0].grad[0, 0] = np.inf
            scaler.unscale(optimizer)
            clip_grad_norm(optimizer, 1.0)
            scaler.step(optimizer)
            scaler.update()
            with held[0].data.device:
                held[0].grad[0, 0] = 0
        optimizer.load_state_dict(optimizer.state_dict())
        assert optimizer.steps == 2
        return [p.data.get() for p in held], optimizer.state_dict(), scaler.loss_scale

    if cupy.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("one device")
    (one, state, scale), (two, state_of_two, scale_of_two) = trained([0] * 5), trained([0, 1, 0, 1, 0])
    assert scale == scale_of_two == 2.0**15
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-12)  # the norm is added up device by device
    np.testing.assert_array_equal(state_of_two["counts"].get(), state["counts"].get())


class Step:
    """Gradients that are computed from data, clipped, unscaled and used; the first of them overflow."""

    def __init__(self, cupy, start):
        self.held = [Parameter(cupy.asarray(a)) for a in start]
        self.optimizer = AdamW(self.held, lr=0.1, schedule=[0.5, 1.0, 0.25])
        self.scaler = GradScaler(init_scale=2.0**17, growth_interval=3)

    def __call__(self, x):
        for p in self.held:
            if p.grad is None:
                p.grad = x[: p.data.size].reshape(p.data.shape).copy()
            p.grad[...] = self.scaler.scale(p.data * x[: p.data.size].reshape(p.data.shape))
        self.scaler.unscale(self.optimizer)
        norm = clip_grad_norm(self.optimizer, 3.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return norm

    def state(self):
        data = {f"data {place}": p.data for place, p in enumerate(self.held)}
        return {name: array.get() for name, array in (data | self.optimizer.state_dict()).items()}


def test_replays_are_eager_steps(cupy, rng):
    start = values(rng, np.float16, ((3, 4), (5,)))
    eager, captured = Step(cupy, start), Step(cupy, start)
    replay = backstride.capture(captured)
    for place in range(8):
        x = cupy.asarray(rng.standard_normal(12).astype(np.float16) + np.float16(1))
        expected = eager(x)
        assert replay(x).get().tobytes() == expected.get().tobytes()
        if place == 4:
            eager.optimizer.lr = captured.optimizer.lr = 0.05
        for name, array in captured.state().items():
            assert array.tobytes() == eager.state()[name].tobytes(), name
    assert captured.scaler.loss_scale == eager.scaler.loss_scale < 2.0**17
    assert 0 < captured.optimizer.steps < 8


def test_gradients_that_move_in_a_captured_step(cupy):
    p = Parameter(cupy.ones(3))
    optimizer = SGD([p], lr=1.0)

    def step(x):
        p.grad = x * 2
        optimizer.step()

    captured = backstride.capture(step)
    captured(cupy.ones(3))
    with pytest.raises(RuntimeError, match=r"captured \(an optimizer in a captured step: the gradients are not"):
        captured(cupy.ones(3))


def test_a_graph_keeps_the_table_it_reads(cupy):
    held = [Parameter(cupy.ones(3)) for _ in range(2)]
    give(held, [np.ones(3)] * 2, cupy)
    optimizer = SGD(held, lr=1.0)
    captured = backstride.capture(lambda x: optimizer.step() or x + 1)
    for _ in range(2):
        captured(cupy.ones(1))
    held[1].requires_grad = False
    optimizer.step()  # with a table of its own
    held[1].requires_grad = True
    captured(cupy.ones(1))
    assert [p.data.get()[0] for p in held] == [-3, -2]


def test_gradients_elsewhere(cupy):
    p = Parameter(cupy.ones(3))
    optimizer = SGD([p], lr=1.0)
    p.grad = np.ones(3)
    with pytest.raises(ValueError, match=r"SGD: the gradient of parameter 0 is a numpy array \(3,\); expected a cupy"):
        optimizer.step()
    with pytest.raises(TypeError, match="expected arrays of one library"):
        SGD([p, Parameter(np.ones(3))], lr=1.0)


PIECES = "(long long)piece.place * PIECE"
FAULTS = {
    "a piece taken for its neighbour": (PIECES + ";", "(long long)(piece.place ^ 1) * PIECE;"),
    "the end of a tensor": (f"min(tensor.size - {PIECES}, (long long)PIECE)", "PIECE"),
    "elements left out": ("start += THREADS * AT_ONCE", "start += 2 * THREADS * AT_ONCE"),
    "another parameter's factors": ("all_factors[tensor.number]", "all_factors[0]"),
    "another group's rate": ("step.rates[place.group]", "step.rates[0]"),
    "a schedule read past its end": ("min(steps, step.schedule_length - 1LL)", "steps"),
    "a schedule that stands still": ("*step.steps = steps + 1", "*step.steps = steps"),
    "a skip that changes arrays": ("if (!factors.taken) return;", ""),
    "a skip that counts": ("if (!taken) continue;", ""),
    "a skip for ever": ("*step.skip = false;", ""),
    "a scale for ever": ("*step.scale = 1;", ""),
    "no clipping": ("mul_rn(g[j], scale)", "g[j]"),
    "moments that are not kept": ("if (tensor.state1) tensor.state1[at] = state1[j];", ""),
    "no bias correction": ("1 - power(options.beta1, count)", "1 - options.beta1"),
    "eps within the root": ("mul_rn(sqrt_rn(square), unbias)", "mul_rn(sqrt_rn(add_rn(square, eps)), unbias)"),
    "half of the sums forgotten": ("/ 2; half > 0", "/ 2; half > 1"),
    "sums added before they are there": ("= sum;\n    __syncthreads();", "= sum;"),
    "the last piece's sum": ("i < params.count", "i < params.count - 1"),
}
"""What is replaced in the kernels, by what: it must show in the bits, or as a fault of the emulator."""


def evidence(cupy):
    """Two groups of parameters over three steps, one of which is left out: "" where all bits are NumPy's."""
    start = values(np.random.default_rng(1), np.float32)
    here, there = [Parameter(a.copy()) for a in start], [Parameter(cupy.asarray(a)) for a in start]
    states = []
    for held, xp in ((here, np), (there, cupy)):
        rng = np.random.default_rng(0)
        groups = [{"parameters": held[:2]}, {"parameters": held[2:], "lr": 0.3, "eps": 1e-2}]
        optimizer = Adam(groups, lr=0.1, schedule=[0.5, 1.0])
        for place in range(4):
            give(held, values(rng, np.float32), xp)
            norm = clip_grad_norm(optimizer, 10.0)
            optimizer.skip_step(place == 2)
            optimizer.step()
        states.append({**optimizer.state_dict(), "norm": norm, **{f"data {i}": p.data for i, p in enumerate(held)}})
    return next((n for n, a in states[1].items() if a.get().tobytes() != np.asarray(states[0][n]).tobytes()), "")


def test_no_fault_shows_nothing(cupy):
    assert evidence(cupy) == ""


@pytest.mark.emulated
@pytest.mark.parametrize(("old", "new"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_caught(old, new, monkeypatch):
    with emulated(monkeypatch) as cupy:
        raw_module, met = cupy.RawModule, []

        def mutated(*, code, options):
            met.append(old in code)
            return raw_module(code=code.replace(old, new), options=options)

        monkeypatch.setattr(cupy, "RawModule", mutated)
        try:
            found = evidence(cupy)
        except emulator.EmulatorFault as fault:
            found = str(fault)
        assert any(met), "the kernels no longer contain what this mutation replaces"
        assert found, "nothing shows this mutation"
