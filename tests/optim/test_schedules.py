"""Schedules against torch.optim.lr_scheduler, step by step."""

from __future__ import annotations

import numpy as np
import pytest

from backstride.layers import Parameter
from backstride.optim import SGD, schedules

STEPS = 20


def rates_of_torch(torch, make):
    """The learning rate of each step where lr is 1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def warmed(module, optimizer, scheduler):
    """4 steps from 1/5 to 4/5, then another scheduler."""
    warm_up = module.LinearLR(optimizer, start_factor=0.2, end_factor=1.0, total_iters=4)
    return module.SequentialLR(optimizer, [warm_up, scheduler], milestones=[4])


SCHEDULES = {
    "constant": (schedules.constant(), lambda m, o: m.ConstantLR(o, factor=1.0)),
    "constant, warm-up": (schedules.constant(warmup=4), lambda m, o: warmed(m, o, m.ConstantLR(o, factor=1.0))),
    "step": (schedules.step(STEPS, 6, 0.3), lambda m, o: m.StepLR(o, 6, 0.3)),
    "cosine": (schedules.cosine(STEPS - 1), lambda m, o: m.CosineAnnealingLR(o, STEPS - 1)),
    "cosine, warm-up": (
        schedules.cosine(STEPS - 1, warmup=4, end=0.1),
        lambda m, o: warmed(m, o, m.CosineAnnealingLR(o, STEPS - 5, eta_min=0.1)),
    ),
    "one cycle": (
        schedules.one_cycle(STEPS + 1),
        lambda m, o: m.OneCycleLR(o, 1.0, total_steps=STEPS + 1, cycle_momentum=False),
    ),
    "one cycle of other shares": (
        schedules.one_cycle(STEPS + 1, rise=0.45, start=0.1, end=0.01),
        lambda m, o: m.OneCycleLR(
            o, 1.0, total_steps=STEPS + 1, cycle_momentum=False, pct_start=0.45, div_factor=10, final_div_factor=10
        ),
    ),
}


@pytest.mark.parametrize(("schedule", "theirs"), SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's, of its own use of the epoch parameter
def test_rates_are_pytorchs(schedule, theirs, torch):
    p = Parameter(np.zeros(1))
    p.grad = np.ones(1)
    optimizer = SGD([p], lr=1.0, schedule=schedule)
    taken = []
    for _ in range(STEPS):
        before = p.data[0]
        optimizer.step()
        taken.append(before - p.data[0])
    np.testing.assert_allclose(taken, rates_of_torch(torch, theirs), rtol=0, atol=1e-13)  # sums of 20 such numbers


def test_by_hand():
    np.testing.assert_allclose(schedules.cosine(4), [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2, 0], atol=1e-16)
    np.testing.assert_allclose(schedules.step(5, 2, 0.5, warmup=1), [0.5, 1, 1, 0.5, 0.5, 0.25])
    cycle = schedules.one_cycle(10, start=0.2, end=0.1)
    assert (cycle[0], cycle[2], cycle[-1]) == pytest.approx((0.2, 1.0, 0.1))
    assert (np.diff(cycle[:3]) > 0).all()
    assert (np.diff(cycle[2:]) < 0).all()


def test_the_last_rate_stays():
    p = Parameter(np.zeros(1))
    p.grad = np.ones(1)
    optimizer = SGD([p], lr=1.0, schedule=[4.0, 2.0, 1.0])
    for _ in range(5):
        optimizer.step()
    assert p.data[0] == -(4 + 2 + 1 + 1 + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.constant(0), "constant: steps is 0; expected an int >= 1"),
        (lambda: schedules.constant(warmup=-1), "constant: warmup is -1"),
        (lambda: schedules.step(9, 0), "step: every is 0"),
        (lambda: schedules.cosine(0.5), "cosine: steps is 0.5; expected an int"),
        (lambda: schedules.cosine(5, warmup=5), "cosine: warmup is 5; expected 0 to 4, less than steps"),
        (lambda: schedules.one_cycle(1), "one_cycle: steps is 1; expected an int >= 2"),
        (lambda: schedules.one_cycle(10, rise=1), "one_cycle: rise is 1"),
        (lambda: schedules.one_cycle(10, rise=0.05), "one_cycle: rise is 0.05; expected more than 0.1"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
