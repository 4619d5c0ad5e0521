"""clip_grad_norm against PyTorch's, on an optimizer and on parameters."""

from __future__ import annotations

import numpy as np
import pytest
from accuracy import dtype_of

from backstride.layers import Parameter
from backstride.optim import SGD, Adam, clip_grad_norm


def parameters(rng, dtype="float64"):
    held = [Parameter(rng.standard_normal(shape).astype(dtype_of(dtype))) for shape in ((300, 40), (7,), ())]
    for p in held:
        p.grad = rng.standard_normal(p.data.shape).astype(p.data.dtype)
    return held


@pytest.mark.parametrize("max_norm", [0.5, 1e6])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_pytorchs(max_norm, dtype, rng, torch):
    held, twins = parameters(rng, dtype), []
    for p in held:
        twins.append(torch.from_numpy(p.data.copy()).requires_grad_())
        twins[-1].grad = torch.from_numpy(p.grad.copy())
    of_optimizer = [Parameter(p.data.copy()) for p in held]
    for p, q in zip(of_optimizer, held, strict=True):
        p.grad = q.grad.copy()
    optimizer, reference = Adam(of_optimizer, weight_decay=0.1), torch.optim.Adam(twins, weight_decay=0.1)
    expected = torch.nn.utils.clip_grad_norm_(twins, max_norm)
    # their norm is summed in the gradients' dtype
    for norm in (clip_grad_norm(optimizer, max_norm), clip_grad_norm(held, max_norm)):
        assert (norm.shape, norm.dtype) == ((), np.float64)
        assert norm == pytest.approx(float(expected), rel={"float64": 1e-14, "float32": 1e-6}[dtype])
    optimizer.step()
    reference.step()
    atol = {"float64": 1e-13, "float32": 1e-6}[dtype]  # of numbers below 4, from a factor that their norm decides
    for p, q, t in zip(held, of_optimizer, twins, strict=True):
        np.testing.assert_allclose(p.grad, t.grad, rtol=0, atol=atol)
        np.testing.assert_allclose(q.data, t.detach(), rtol=0, atol=atol)


def test_an_optimizers_gradients_stay_and_the_next_step_alone_is_clipped(rng):
    held = parameters(rng)
    before = [p.grad.copy() for p in held]
    start = [p.data.copy() for p in held]
    optimizer = SGD(held, lr=1.0)
    norm = clip_grad_norm(optimizer, 1.0)
    for _ in range(2):
        optimizer.step()
    for p, gradient, data in zip(held, before, start, strict=True):
        np.testing.assert_array_equal(p.grad, gradient)
        np.testing.assert_allclose(p.data, data - (1 + 1 / (norm + 1e-6)) * gradient, rtol=1e-12)


def test_twice_is_as_the_smaller(rng):
    held, twins = parameters(rng), parameters(np.random.default_rng(0))
    for p, t in zip(held, twins, strict=True):
        t.data, t.grad = p.data.copy(), p.grad.copy()
    optimizer, reference = SGD(held, lr=1.0), SGD(twins, lr=1.0)
    clip_grad_norm(optimizer, 2.0)
    assert clip_grad_norm(optimizer, 1.0) == pytest.approx(2.0, rel=1e-6)  # 1e-6 keeps a factor from dividing by 0
    clip_grad_norm(reference, 1.0)
    for each in (optimizer, reference):
        each.step()
    for p, t in zip(held, twins, strict=True):
        np.testing.assert_allclose(p.data, t.data, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bit_gradients_that_would_vanish(dtype, rng):
    """The factor meets them in float32: 2**-20 of them is more than 0."""
    p = Parameter(np.zeros(4, dtype_of(dtype)))
    p.grad = np.full(4, 2.0**-8).astype(p.data.dtype)
    optimizer = SGD([p], lr=2.0**20)
    assert clip_grad_norm(optimizer, 2.0**-19) == 2.0**-7
    optimizer.step()
    np.testing.assert_allclose(p.data.astype(float), -(2.0**0) * np.ones(4), rtol=1e-3)


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_what_is_not_finite_is_not_hidden(wrong, rng):
    for clip_of_optimizer in (True, False):
        held = parameters(rng)
        held[1].grad[3] = wrong
        optimizer = SGD(held, lr=1.0)
        norm = clip_grad_norm(optimizer if clip_of_optimizer else held, 1.0)
        assert not np.isfinite(norm)
        optimizer.step()
        assert all(np.isnan(p.data).all() for p in held)


def test_gradients_that_are_none(rng):
    held = parameters(rng)
    held[0].grad = None
    expected = np.sqrt((held[1].grad ** 2).sum() + held[2].grad ** 2)
    assert clip_grad_norm(SGD(held, lr=1.0), 1.0) == pytest.approx(expected, rel=1e-14)
    assert clip_grad_norm(held, 1.0) == pytest.approx(expected, rel=1e-14)
    for p in held:
        p.grad = None
    optimizer = SGD(held, lr=1.0)
    assert clip_grad_norm(optimizer, 1.0) == 0 == clip_grad_norm(held, 1.0)
    optimizer.step()
    assert optimizer.steps == 1


@pytest.mark.parametrize("max_norm", [0, -1, np.nan, np.inf])
def test_bad_norms(max_norm, rng):
    with pytest.raises(ValueError, match=r"clip_grad_norm: max_norm is .*; expected a finite number > 0"):
        clip_grad_norm(parameters(rng), max_norm)
