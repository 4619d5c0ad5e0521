"""Optimizers against torch.optim, step by step, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from accuracy import dtype_of

from backstride.layers import Linear, Parameter
from backstride.optim import SGD, Adam, AdamW

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
    optimizer = rule([held], **options)
    for _ in range(3):
        held.grad = rng.standard_normal(600).astype(dtype)
        wide = Parameter(held.data.astype(np.float32))
        wide.grad = held.grad.astype(np.float32)
        twin = rule([wide], **options)
        twin.load_state_dict(optimizer.state_dict())
        optimizer.step()
        twin.step()
        np.testing.assert_array_equal(held.data, wide.data.astype(dtype))


def test_w9_betas_in_a_list():
    betas = [0.9, 0.99]
    optimizer = Adam(Linear(2, 2).parameters(), betas=betas)
    betas[0] = 2.0
    assert optimizer.betas == (0.9, 0.99)


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
    ]:
        with pytest.raises(ValueError, match=message):
            make()


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
