"""The layers of one, two and three axes, with channels first and last: beside PyTorch's, and explained."""

from __future__ import annotations

import numpy as np
import pytest

from backstride import explain, layers

TRANSPOSED = {"stride": (2, 1, 2), "padding": (0, 1, 1), "output_padding": (1, 2, 0), "dilation": (1, 3, 2)}
KINDS = {
    "Conv": ((4, 6, (3, 2, 4)), {"stride": (1, 2, 2), "padding": (0, 1, 2), "dilation": (1, 2, 1), "groups": 2}),
    "ConvTranspose": ((4, 6, (3, 2, 2)), {**TRANSPOSED, "groups": 2}),
    "MaxPool": (((2, 3, 3),), {"stride": (1, 2, 2), "padding": (0, 1, 1), "ceil_mode": True}),
    "AvgPool": (((2, 3, 3),), {"stride": (1, 2, 2), "padding": (0, 1, 1), "count_include_pad": False}),
    "AdaptiveAvgPool": (((2, 3, 5),), {}),
}
CASES = [(kind, rank, layout) for kind in KINDS for rank in (1, 2, 3) for layout in ("NCHW", "NHWC")]


def of_rank(value, rank):
    return value[-rank:] if isinstance(value, tuple) else value


def made(namespace, kind, rank, **more):
    arguments, options = KINDS[kind]
    options = {name: of_rank(value, rank) for name, value in options.items()}
    return getattr(namespace, f"{kind}{rank}d")(*(of_rank(a, rank) for a in arguments), **options, **more)


def ours(kind, rank, layout="NCHW"):
    return made(layers, kind, rank, layout=layout, **({"dtype": "float64", "rng": 1} if "Conv" in kind else {}))


def as_pytorch(a, layout):
    """An array of a layer, a bias among them, with channels first."""
    return np.moveaxis(a, -1, 1) if layout == "NHWC" and a.ndim > 1 else a


@pytest.mark.parametrize(("kind", "rank", "layout"), CASES)
def test_beside_pytorch(kind, rank, layout, torch, rng):
    layer, theirs = ours(kind, rank, layout), made(torch.nn, kind, rank).double()
    state = {name: torch.tensor(as_pytorch(value, layout)) for name, value in layer.state_dict().items()}
    theirs.load_state_dict(state)
    x = rng.standard_normal((2, 4, *(5, 8, 7)[-rank:]))
    tensor = torch.tensor(x, requires_grad=True)
    x = x if layout == "NCHW" else np.moveaxis(x, 1, -1)
    y, expected = layer(x), theirs(tensor)
    near = {"rtol": 0, "atol": 1e-13}  # some dozens of float64 products of about 1
    np.testing.assert_allclose(as_pytorch(y, layout), expected.detach().numpy(), **near)
    dy = rng.standard_normal(y.shape)
    expected.backward(torch.tensor(as_pytorch(dy, layout)))
    np.testing.assert_allclose(as_pytorch(layer.backward(dy), layout), tensor.grad.numpy(), **near)
    gradients = dict(theirs.named_parameters())
    for name, parameter in layer.named_parameters():
        got = as_pytorch(parameter.grad, layout)
        np.testing.assert_allclose(got, gradients[name].grad.numpy().reshape(got.shape), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "rank", "layout"), CASES)
def test_gradients_are_explained(kind, rank, layout, rng):
    """They agree with finite differences, and with the sum of the terms that are listed for an element."""
    layer, extents = ours(kind, rank, layout), (3, 4, 5)[-rank:]
    explanation = explain(layer, (2, 4, *extents) if layout == "NCHW" else (2, *extents, 4), seed=rank)
    assert explanation.agrees
    (step,) = explanation.steps
    for gradient in step.gradients:
        for _ in range(8):
            index = tuple(int(rng.integers(extent)) for extent in gradient.shape)
            terms = step.terms(gradient, index)
            assert terms.total == pytest.approx(terms.computed, rel=0, abs=1e-13)


def test_formulas_name_the_axes_there_are():
    def formula(layer, shape):
        return explain(layer, shape).steps[0].formulas

    line = formula(layers.Conv1d(2, 3, 2, stride=2, padding=((1, 0),)), (1, 2, 5))
    assert line.forward == "Y[n,k,q] = b[k] + Σ_c,s X[n,c,2q+s-1] · W[k,c,s]"
    volume = formula(layers.Conv3d(2, 3, 2, dilation=(1, 2, 3), bias=False), (1, 2, 5, 5, 5))
    assert volume.gradients["dx"] == (
        "dX[n,c,d,h,w] = Σ_k,t,r,s dY[n,k,z,p,q] · W[k,c,t,r,s] where z+t = d, p+2r = h, q+3s = w"
    )
    last = formula(layers.Conv2d(2, 3, 2, stride=2, layout="NHWC"), (1, 5, 5, 2))
    assert last.forward == "Y[n,p,q,k] = b[k] + Σ_c,r,s X[n,2p+r,2q+s,c] · W[k,r,s,c]"
    transposed = formula(layers.ConvTranspose2d(2, 3, 2, stride=2), (1, 2, 5, 5))
    assert transposed.forward == "Y[n,k,h,w] = b[k] + Σ_c,r,s X[n,c,p,q] · W[c,k,r,s] where 2p+r = h, 2q+s = w"


def test_arguments_are_checked_when_the_layer_is_made():
    with pytest.raises(ValueError, match=r"Conv1d: kernel_size is \(3, 3\); expected an int or a \(w,\) tuple"):
        layers.Conv1d(2, 3, (3, 3))
    with pytest.raises(ValueError, match=r"ConvTranspose3d: output_padding is \(2, 2, 2\); expected less than stride"):
        layers.ConvTranspose3d(2, 3, 3, stride=2, output_padding=2)
    with pytest.raises(ValueError, match="ConvTranspose2d: groups is 2; expected a divisor of C = 3 and K = 4"):
        layers.ConvTranspose2d(3, 4, 3, groups=2)
    with pytest.raises(ValueError, match="MaxPool3d: padding is"):
        layers.MaxPool3d(2, padding=2)
    with pytest.raises(ValueError, match=r"AdaptiveAvgPool1d: output_size is \(2, 2\)"):
        layers.AdaptiveAvgPool1d((2, 2))


def test_a_transposed_layer_describes_itself():
    layer = layers.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, bias=False)
    assert repr(layer) == "ConvTranspose2d(4, 6, (3, 3), stride=2, padding=1, output_padding=1, bias=False)"


@pytest.mark.parametrize("kind", KINDS)
def test_the_layout_of_a_layer(kind):
    layer = ours(kind, 2, "NHWC")
    assert "layout='NHWC'" in repr(layer)
    assert "layout" not in repr(ours(kind, 2))
    for (name, held), (_, first) in zip(layer.state_dict().items(), ours(kind, 2).state_dict().items(), strict=True):
        np.testing.assert_array_equal(as_pytorch(held, "NHWC"), first, strict=True)
        assert held.shape == {"weight": layer.weight.data.shape, "bias": (6,)}[name]
    with pytest.raises(ValueError, match=f"^{type(layer).__name__}: layout is 'NCWH'; expected 'NCHW' or 'NHWC'$"):
        ours(kind, 2, "NCWH")


def test_the_page_of_a_layer_with_channels_last():
    assert explain(ours("Conv", 2, "NHWC"), (1, 3, 4, 4)).to_html().count("X[n,") > 0
