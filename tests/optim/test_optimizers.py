"""Optimizers against torch.optim, step by step, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from accuracy import DTYPES, dtype_of

from backstride import jit
from backstride.layers import Conv2d, Linear, Parameter, ReLU, Sequential
from backstride.optim import SGD, Adam, AdamW, clip_grad_norm, decay_groups

RULES = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "weight_decay": 0.2}),
    (SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    (Adam, {}),
    (Adam, {"lr": 0.02, "betas": (0.7, 0.95), "eps": 1e-3, "weight_decay": 0.1}),
    (AdamW, {}),
    (AdamW, {"lr": 0.02, "betas": (0.0, 0.95), "weight_decay": 0.3}),
]


def parameters(rng, dtype="float64"):
    return [Parameter(rng.standard_normal(shape).astype(dtype_of(dtype))) for shape in ((3, 2), (4,))]


def give_gradients(rng, held):
    for p in held:
        p.grad = rng.standard_normal(p.data.shape).astype(p.data.dtype)


@pytest.mark.parametrize(("rule", "options"), RULES)
def test_twenty_steps_are_pytorchs(rule, options, rng, torch):
    held = parameters(rng)
    theirs = [torch.from_numpy(p.data.copy()).requires_grad_() for p in held]
    ours, reference = rule(held, **options), getattr(torch.optim, rule.__name__)(theirs, **options)
    for _ in range(20):
        give_gradients(rng, held)
        for p, t in zip(held, theirs, strict=True):
            t.grad = torch.from_numpy(p.grad.copy())
        ours.step()
        reference.step()
        for p, t in zip(held, theirs, strict=True):
            # the same formula in another order of operations: some roundings of float64 a step
            np.testing.assert_allclose(p.data, t.detach(), rtol=0, atol=1e-13)


def test_first_steps_by_hand():
    p = Parameter(np.array([1.0]))
    p.grad = np.array([2.0])
    SGD([p], lr=0.1, weight_decay=0.5).step()
    assert p.data[0] == pytest.approx(1 - 0.1 * (2 + 0.5 * 1), rel=1e-15)
    p = Parameter(np.array([1.0]))
    p.grad = np.array([-7.0])
    Adam([p], lr=0.25, eps=0).step()
    assert p.data[0] == pytest.approx(1.25, rel=1e-15)  # the first step of Adam is lr times the sign


@pytest.mark.parametrize(("rule", "options"), RULES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_other_dtypes_in_place(rule, options, dtype, rng):
    held = parameters(rng, dtype)
    arrays = [p.data for p in held]
    exact = [Parameter(p.data.astype(np.float64)) for p in held]
    for optimizer_of in (held, exact):
        for p, values in zip(optimizer_of, ([[1, -2], [3, 0], [0.5, 1]], [1, 0, -1, 2]), strict=True):
            p.grad = np.array(values).astype(p.data.dtype)
    ours, reference = rule(held, **options), rule(exact, **options)
    ours.step()
    reference.step()
    eps = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23}[dtype]
    for p, array, e in zip(held, arrays, exact, strict=True):
        assert p.data is array
        assert array.dtype == dtype_of(dtype)
        # the change is rounded once and the difference once, of numbers below 4
        np.testing.assert_allclose(array.astype(np.float64), e.data, rtol=0, atol=4 * eps)


@pytest.mark.parametrize(("rule", "options"), RULES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_w7_sixteen_bit_parameters_are_rounded_once(rule, options, dtype, rng):
    """What float32 gives, rounded: the same bits, step after step."""
    dtype = dtype_of(dtype)
    held = Parameter(rng.standard_normal(600).astype(dtype))
    wide = Parameter(held.data.astype(np.float32))
    optimizer, twin = rule([held], **options), rule([wide], **options)
    for _ in range(3):
        held.grad = rng.standard_normal(600).astype(dtype)
        wide.grad = held.grad.astype(np.float32)
        optimizer.step()
        twin.step()
        np.testing.assert_array_equal(held.data, wide.data.astype(dtype))


def test_w9_betas_in_a_list():
    betas = [0.9, 0.99]
    optimizer = Adam(Linear(2, 2).parameters(), betas=betas)
    betas[0] = 2.0
    assert optimizer.groups[0].options["betas"] == (0.9, 0.99)


@pytest.mark.parametrize(("rule", "options"), RULES)
def test_gradients_are_not_changed_by_a_step(rule, options, rng):
    held = parameters(rng)
    give_gradients(rng, held)
    before = [p.grad.copy() for p in held]
    optimizer = rule(held, **options)
    optimizer.step()
    for p, gradient in zip(held, before, strict=True):
        np.testing.assert_array_equal(p.grad, gradient)
    optimizer.zero_grad()
    assert not any(p.grad.any() for p in held)


@pytest.mark.parametrize(("rule", "options"), RULES)
@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_a_resumed_run_is_the_uninterrupted_one(rule, options, dtype, rng):
    def run(optimizer, seeds):
        for seed in seeds:
            give_gradients(np.random.default_rng(seed), optimizer.parameters)
            optimizer.step()

    held = parameters(rng, dtype)
    optimizer = rule(held, **options)
    run(optimizer, range(3))
    state, data = optimizer.state_dict(), [p.data.copy() for p in held]
    run(optimizer, range(3, 6))  # the state is a copy: this does not reach it

    resumed = rule([Parameter(array) for array in data], **options)
    resumed.load_state_dict(state)
    assert resumed.steps == 3
    run(resumed, range(3, 6))
    for p, q in zip(resumed.parameters, held, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_bad_arguments():
    p = Linear(2, 2).parameters
    for make, message in [
        (lambda: SGD([], lr=1), "SGD: parameters is empty"),
        (lambda: SGD([*p(), *p()], lr=1), "SGD: parameters holds one twice"),
        (lambda: SGD(p(), lr=-1), "SGD: lr is -1; expected a number >= 0"),
        (lambda: SGD(p(), lr=float("nan")), "SGD: lr is nan"),
        (lambda: SGD(p(), lr=1, momentum=-1), "SGD: momentum is -1"),
        (lambda: SGD(p(), lr=1, nesterov=True), "SGD: nesterov is True; expected a momentum"),
        (lambda: SGD(p(), lr=1, momentum=0.9, dampening=0.1, nesterov=True), "SGD: nesterov is True"),
        (lambda: Adam(p(), betas=(0.9, 1)), r"Adam: betas\[1\] is 1; expected 0 <= beta < 1"),
        (lambda: Adam(p(), eps=-1), "Adam: eps is -1"),
        (lambda: AdamW(p(), weight_decay=-1), "AdamW: weight_decay is -1"),
        (lambda: AdamW([{"parameters": p(), "weight_decay": -2}]), "AdamW: weight_decay is -2"),
        (lambda: SGD([{"parameters": p(), "lr": -2}], lr=1), "SGD: lr is -2"),
        (
            lambda: SGD([{"parameters": p(), "betas": 0}], lr=1),
            "SGD: an option of group 0 is 'betas'; expected one",
        ),
        (lambda: SGD([{"parameters": []}], lr=1), "SGD: parameters is empty"),
        (lambda: SGD(p(), lr=1, schedule=[]), r"SGD: schedule.shape is \(0,\)"),
        (lambda: SGD(p(), lr=1, schedule=[1, -1]), "SGD: schedule is -1.0 somewhere; expected finite numbers"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()


def test_bad_kinds():
    p = Linear(2, 2).parameters
    for given, message in [
        ([np.zeros(3)], "SGD: a parameter is a ndarray; expected a Parameter"),
        ([{"params": p()}], "SGD: group 0 is a dict with 'params'; expected a dict with 'parameters'"),
        ([{"parameters": p()}, *p()], "SGD: group 1 is a Parameter; expected a dict with 'parameters'"),
    ]:
        with pytest.raises(TypeError, match=message):
            SGD(given, lr=1)


def test_a_wrong_state_is_refused_whole():
    optimizer = Adam(Linear(2, 2).parameters())
    state = optimizer.state_dict()
    state["0.mean"] = state["0.mean"] + 1
    state["1.square"] = np.zeros(5)
    del state["steps"]
    with pytest.raises(ValueError, match="steps is missing") as info:
        optimizer.load_state_dict(state)
    assert "1.square has shape (5,); expected (2,)" in str(info.value)
    assert not optimizer.state_dict()["0.mean"].any()


TOLERANCES = {"float64": 1e-13, "float32": 2e-6}
"""Some roundings a step over 20 steps, of numbers below 8."""


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("rule", [SGD, Adam, AdamW])
def test_groups_are_pytorchs(rule, dtype, rng, torch):
    held = [*parameters(rng, dtype), *parameters(rng, dtype)]
    theirs = [torch.from_numpy(p.data.copy()).requires_grad_() for p in held]
    own = {"lr": 0.03, "weight_decay": 0.5} | ({"momentum": 0.9} if rule is SGD else {"betas": (0.5, 0.9)})
    ours = rule([{"parameters": held[:2]}, {"parameters": held[2:], **own}], lr=0.1, weight_decay=0.1)
    reference = getattr(torch.optim, rule.__name__)(
        [{"params": theirs[:2]}, {"params": theirs[2:], **own}], lr=0.1, weight_decay=0.1
    )
    for _ in range(20):
        give_gradients(rng, held)
        for p, t in zip(held, theirs, strict=True):
            t.grad = torch.from_numpy(p.grad.copy())
        ours.step()
        reference.step()
    for p, t in zip(held, theirs, strict=True):
        np.testing.assert_allclose(p.data, t.detach(), rtol=0, atol=TOLERANCES[dtype])


def test_lr_of_a_group_is_its_own():
    first, second = (Parameter(np.zeros(1)) for _ in range(2))
    optimizer = SGD([{"parameters": [first]}, {"parameters": [second], "lr": 3.0}], lr=1.0)
    optimizer.lr = 2.0
    for p in (first, second):
        p.grad = np.ones(1)
    optimizer.step()
    assert (first.data[0], second.data[0]) == (-2, -3)


def test_biases_and_norms_do_not_decay():
    net = Sequential(Conv2d(1, 2, 3), ReLU(), Linear(8, 3, batch_axis=1), Linear(3, 2, bias=False))
    weights, others = decay_groups(net)
    assert [p.data.shape for p in weights["parameters"]] == [(2, 1, 3, 3), (3, 8), (2, 3)]
    assert [p.data.shape for p in others["parameters"]] == [(2, 1, 1), (3, 1)]
    optimizer = AdamW(decay_groups(net), weight_decay=0.5)
    for p in optimizer.parameters:
        p.data[...], p.grad = 1, np.zeros_like(p.data)
    optimizer.step()
    assert all((p.data < 1).all() for p in weights["parameters"])
    assert all((p.data == 1).all() for p in others["parameters"])


@pytest.mark.parametrize(("rule", "options"), RULES)
def test_parameters_without_a_gradient_are_passed_over_as_in_pytorch(rule, options, rng, torch):
    held = parameters(rng)
    theirs = [torch.from_numpy(p.data.copy()).requires_grad_() for p in held]
    ours, reference = rule(held, **options), getattr(torch.optim, rule.__name__)(theirs, **options)
    for taking_part in ((True, False), (False, True), (True, True), (False, False), (False, True), (True, True)):
        give_gradients(rng, held)
        for p, t, takes_part in zip(held, theirs, taking_part, strict=True):
            if not takes_part:
                p.grad = None
            t.grad = torch.from_numpy(p.grad.copy()) if takes_part else None
        ours.step()
        reference.step()
        for p, t in zip(held, theirs, strict=True):
            np.testing.assert_allclose(p.data, t.detach(), rtol=0, atol=1e-13)
    assert ours.state_dict()["counts"].tolist() == [3, 4]


def test_frozen_parameters_are_passed_over(rng):
    held = parameters(rng)
    give_gradients(rng, held)
    held[0].requires_grad = False
    before = [p.data.copy() for p in held]
    SGD(held, lr=1.0).step()
    np.testing.assert_array_equal(held[0].data, before[0])
    assert (held[1].data != before[1]).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_steps_too_small_for_16_bits_add_up(dtype):
    """Each changes 1 by a 16th of what the type can hold; without a master none would."""
    p = Parameter(np.ones(3, dtype_of(dtype)))
    optimizer = SGD([p], lr=2.0**-12 if dtype == "float16" else 2.0**-9)
    p.grad = np.full(3, -(2.0**-2)).astype(p.data.dtype)
    for _ in range(64):
        optimizer.step()
    assert p.data.astype(float).tolist() == [1 + (2.0**-8 if dtype == "float16" else 2.0**-5)] * 3


def test_the_master_follows_what_others_change():
    p = Parameter(np.array([1, 1, 1], np.float16))
    optimizer = SGD([p], lr=2.0**-12)
    p.grad = np.full(3, 0.25, np.float16)
    optimizer.step()
    p.data[1], p.data[2] = 5, np.nan
    optimizer.step()
    master = optimizer.state_dict()["0.master"]
    np.testing.assert_array_equal(master, [1 - 2.0**-13, 5 - 2.0**-14, np.nan])
    np.testing.assert_array_equal(p.data, master.astype(np.float16))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_large_parameter_is_many_small_ones(dtype, rng):
    """It is updated in pieces."""
    whole = rng.standard_normal((3, 40_000)).astype(dtype)
    large, small = Parameter(whole.copy()), [Parameter(row.copy()) for row in whole]
    large.grad = rng.standard_normal(whole.shape).astype(dtype)
    for p, row in zip(small, large.grad, strict=True):
        p.grad = row
    for optimizer in (Adam([large]), Adam(small)):
        for _ in range(2):
            optimizer.step()
    np.testing.assert_array_equal(large.data, [p.data for p in small])


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_data_and_gradients_of_any_strides(dtype, rng):
    values, gradient = (rng.standard_normal((4, 6)).astype(dtype) for _ in range(2))
    plain, transposed = Parameter(values.copy()), Parameter(np.asfortranarray(values).copy("K"))
    assert not transposed.data.flags.c_contiguous
    plain.grad, transposed.grad = gradient, np.repeat(gradient, 2, axis=1)[:, ::2]
    for p in (plain, transposed):
        optimizer = SGD([p], lr=0.1, momentum=0.9)
        for _ in range(3):
            optimizer.step()
    np.testing.assert_array_equal(transposed.data, plain.data)
    assert not transposed.data.flags.c_contiguous


def test_gradients_that_were_summed_elsewhere(rng):
    """In float32 for 16-bit parameters; None among them passes a parameter over."""
    held = parameters(rng, "float16")
    give_gradients(rng, held)
    wide = [Parameter(p.data.astype(np.float32)) for p in held]
    optimizer, twin = Adam(held), Adam(wide)
    optimizer.gradients = [None, rng.standard_normal(4).astype(np.float32)]
    wide[1].grad = optimizer.gradients[1]
    for each in (optimizer, twin):
        assert each.gradient_norm() == pytest.approx(np.sqrt((wide[1].grad.astype(float) ** 2).sum()), rel=1e-15)
        each.step()
    for p, q in zip(held, wide, strict=True):
        np.testing.assert_array_equal(p.data, q.data.astype(np.float16))
    optimizer.gradients = None
    optimizer.step()
    assert optimizer.state_dict()["counts"].tolist() == [1, 2]


def test_a_step_left_out_changes_and_counts_nothing(rng):
    held = parameters(rng)
    give_gradients(rng, held)
    optimizer = Adam(held, schedule=[1.0, 0.5, 0.25])
    optimizer.step()
    before = optimizer.state_dict(), [p.data.copy() for p in held]
    optimizer.scale_gradients(np.nan)
    optimizer.skip_step(True)
    optimizer.step()
    for name, array in optimizer.state_dict().items():
        np.testing.assert_array_equal(array, before[0][name])
    for p, data in zip(held, before[1], strict=True):
        np.testing.assert_array_equal(p.data, data)
    optimizer.step()
    assert optimizer.steps == 2
    assert all(np.isfinite(p.data).all() for p in held)


def test_states_before_masters_and_counts(rng):
    held = parameters(rng, "float16")
    give_gradients(rng, held)
    optimizer = Adam(held)
    optimizer.step()
    state = {n: a for n, a in optimizer.state_dict().items() if n != "counts" and not n.endswith("master")}
    resumed = Adam([Parameter(p.data.copy()) for p in held])
    resumed.load_state_dict(state)
    found = resumed.state_dict()
    assert found["counts"].tolist() == [1, 1]
    np.testing.assert_array_equal(found["1.master"], held[1].data.astype(np.float32))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda p: setattr(p, "grad", np.zeros(2)),
            r"the gradient of parameter 0 is a numpy array \(2,\); expect",
        ),
        (
            lambda p: setattr(p, "data", np.zeros((4, 1))),
            r"parameter 0 is a numpy array \(4, 1\); expected a numpy",
        ),
    ],
)
def test_arrays_that_do_not_fit(spoil, message, rng):
    p = Parameter(rng.standard_normal(4))
    optimizer = SGD([p], lr=1.0)
    p.grad = np.zeros(4)
    spoil(p)
    with pytest.raises(ValueError, match=f"SGD: {message}"):
        optimizer.step()


needs_numba = pytest.mark.skipif(jit.missing() is not None, reason="Numba is not installed")
AWKWARD = ((3, 2), (4,), (), (0, 2), (5, 4100))
"""Among them one whose squares are summed in several pieces, the last of which is not whole."""


def two_steps(rule, options, shapes, dtype, on):
    """What two steps make of parameters, one of them in Fortran order, and the norms of their gradients."""
    rng = np.random.default_rng(3)
    held = [Parameter(rng.standard_normal(shape).astype(dtype_of(dtype))) for shape in shapes]
    held[0].data = np.asfortranarray(held[0].data)
    optimizer, found = rule(held, **options), []
    with jit.use_jit(on):
        for _ in range(2):
            for p in held:
                p.grad = rng.standard_normal(p.data.shape).astype(p.data.dtype)
            for p, value in zip(held, (np.inf, np.nan), strict=False):
                p.grad.flat[1] = value
            found += [optimizer.gradient_norm(), clip_grad_norm(held[2:], 0.5)]
            optimizer.step()
    return [a.tobytes() for a in (*found, *(p.data for p in held), *optimizer.state_dict().values())]


@needs_numba
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rule", "options"), RULES)
def test_compiled_steps_have_the_bits_of_plain_ones(rule, options, dtype):
    assert two_steps(rule, options, AWKWARD, dtype, on=True) == two_steps(rule, options, AWKWARD, dtype, on=False)


@needs_numba
@pytest.mark.parametrize(("rule", "options"), RULES[4:7])
def test_compiled_steps_on_several_threads(rule, options):
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    plain = two_steps(rule, options, ((2,), (700, 800)), "float32", on=False)
    for count in (1, 2, 3):
        with limits(count, user_api="blas"):
            assert two_steps(rule, options, ((2,), (700, 800)), "float32", on=True) == plain
