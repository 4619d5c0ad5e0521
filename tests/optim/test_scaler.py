"""GradScaler: its scale against PyTorch's, and steps left out."""

from __future__ import annotations

import numpy as np
import pytest

from backstride.layers import Parameter
from backstride.optim import SGD, Adam, GradScaler, clip_grad_norm


def test_the_scale_is_pytorchs(rng, torch):
    options = {"init_scale": 64.0, "growth_factor": 4.0, "backoff_factor": 0.25, "growth_interval": 3}
    held, twin = Parameter(np.ones(3, np.float32)), torch.ones(3, requires_grad=True)
    ours, theirs = GradScaler(**options), torch.amp.GradScaler("cpu", **options)
    optimizer, reference = Adam([held]), torch.optim.Adam([twin])
    for finite in (1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0):
        gradient = np.float32(0.5 if finite else np.inf)
        held.grad = ours.scale(np.full(3, gradient))
        theirs.scale((twin * float(gradient)).sum()).backward()
        for scaler, each in ((ours, optimizer), (theirs, reference)):
            scaler.step(each)
            scaler.update()
        reference.zero_grad()
        assert ours.loss_scale == theirs.get_scale()
        np.testing.assert_allclose(held.data, twin.detach(), rtol=1e-6)
    assert optimizer.steps == 12


def test_a_scale_that_cannot_grow_stays():
    scaler = GradScaler(init_scale=2.0**127, growth_interval=1)
    for _ in range(3):
        scaler.update()
    assert scaler.loss_scale == 2.0**127


def test_clipping_sees_gradients_without_the_scale(rng):
    held, twin = (Parameter(np.ones(3, np.float32)) for _ in range(2))
    twin.grad = rng.standard_normal(3).astype(np.float32)
    scaler, optimizer, reference = GradScaler(), SGD([held], lr=1.0), SGD([twin], lr=1.0)
    held.grad = scaler.scale(twin.grad)
    scaler.unscale(optimizer)
    assert clip_grad_norm(optimizer, 0.5) == clip_grad_norm(reference, 0.5)
    scaler.step(optimizer)
    reference.step()
    np.testing.assert_array_equal(held.data, twin.data)  # the scale is a power of two


def test_two_optimizers_share_a_scale():
    held = [Parameter(np.ones(2, np.float32)) for _ in range(2)]
    scaler, optimizers = GradScaler(init_scale=8.0), [SGD([p], lr=1.0) for p in held]
    held[0].grad, held[1].grad = np.array([np.nan, 8], np.float32), np.array([8, 8], np.float32)
    for optimizer in optimizers:
        scaler.step(optimizer)
    scaler.update()
    assert [p.data.tolist() for p in held] == [[1, 1], [0, 0]]
    assert scaler.loss_scale == 4


def test_unscale_twice_is_refused():
    p = Parameter(np.ones(2))
    scaler, optimizer = GradScaler(), SGD([p], lr=1.0)
    p.grad = np.ones(2)
    scaler.unscale(optimizer)
    with pytest.raises(RuntimeError, match="unscale was called twice for an optimizer; expected once before update"):
        scaler.unscale(optimizer)
    scaler.update()
    scaler.unscale(optimizer)


def test_a_resumed_scaler():
    first, second = GradScaler(growth_interval=3), GradScaler(growth_interval=3)
    for _ in range(2):
        first.update()
    second.load_state_dict(first.state_dict())
    second.update()
    assert second.loss_scale == 2.0**17
    for state, message in (
        ({"scale": np.float32(0), "good_steps": 1}, "scale is 0.0; expected a number above 0"),
        ({"scale": np.float32(1), "good_steps": -1}, "good_steps is -1; expected a whole number"),
        ({"scale": np.float32(1)}, "good_steps is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            second.load_state_dict(state)
    assert second.loss_scale == 2.0**17


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_scale": 0}, "init_scale is 0; expected a finite number > 0"),
        ({"growth_factor": 1}, "growth_factor is 1; expected a finite number > 1"),
        ({"backoff_factor": 1}, "backoff_factor is 1; expected a number between 0 and 1"),
        ({"growth_interval": 0}, "growth_interval is 0; expected an int >= 1"),
    ],
)
def test_bad_numbers(options, message):
    with pytest.raises(ValueError, match=f"GradScaler: {message}"):
        GradScaler(**options)
