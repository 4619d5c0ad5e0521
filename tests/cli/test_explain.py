"""backstride.explain: its shapes, its measurements (which must notice a wrong gradient), and its terms."""

from __future__ import annotations

import numpy as np
import pytest

from backstride import explain
from backstride.explanation import Verdict
from backstride.explanation.finite_differences import DIRECTIONS, _along, disagreements
from backstride.layers import (
    Add,
    AvgPool2d,
    BatchNorm2d,
    Concatenate,
    Conv2d,
    Flatten,
    Identity,
    Layer,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Upsample,
)
from backstride.models.resnet import ResidualBlock

# What is left of 16 digits after a difference over a step: every layer here is affine over some step.
ROUNDING = 1e-11


def textbook():
    """The network of backprop.md."""
    conv, linear = Conv2d(3, 2, (3, 2), stride=2, rng=1), Linear(50, 32, batch_axis=1, rng=2)
    return Sequential(conv, MaxPool2d(2, stride=3), linear)


def everything():
    """Every layer, the options that change formulas, and kinds that come more than once."""
    return Sequential(
        Conv2d(4, 6, (3, 2), (2, 1), ((1, 0), (2, 1)), (1, 2), 2, rng=0),
        ReLU(),
        MaxPool2d(3, 2, 1, ceil_mode=True),
        Sequential(Conv2d(6, 3, 2, padding="same", bias=False, rng=1), AvgPool2d(2, 1, 1, False, False)),
        Flatten(),
        Linear(72, 5, rng=2),
        ReLU(),
        Linear(5, 3, batch_axis=0, bias=False, rng=3),
    )


@pytest.fixture(scope="module")
def of_textbook():
    return explain(textbook(), (10, 3, 29, 28))


@pytest.fixture(scope="module")
def of_everything():
    return explain(everything(), (2, 4, 9, 8))


def test_the_text_of_the_textbook(of_textbook):
    conv, pool, linear = (dict(step.facts()) for step in of_textbook.steps)
    assert conv == {
        "input": "(10, 3, 29, 28)",
        "kernel": "(2, 3, 3, 2)",
        "stride": "(2, 2)",
        "bias": "(2, 1, 1)",
        "output": "(10, 2, 14, 14)",
    }
    assert pool == {
        "input": "(10, 2, 14, 14)",
        "kernel": "(2, 2)",
        "stride": "(3, 3)",
        "bias": "none",
        "output": "(10, 2, 5, 5)",
    }
    assert linear == {"input": "(10, 2, 5, 5)", "weight": "(32, 50)", "bias": "(32, 1)", "output": "(32, 10)"}
    assert {name: gradient.shape for name, gradient in of_textbook.gradients.items()} == {
        "conv.dw": (2, 3, 3, 2),
        "conv.dx": (10, 3, 29, 28),
        "conv.db": (2, 1, 1),
        "pool.dx": (10, 2, 14, 14),
        "linear.dw": (32, 50),
        "linear.dx": (10, 2, 5, 5),
        "linear.db": (32, 1),
    }


def test_every_gradient_agrees(of_textbook, of_everything):
    for explanation in (of_textbook, of_everything):
        assert explanation.agrees
        for gradient in explanation.gradients.values():
            assert gradient.disagreement is not None
            assert gradient.disagreement < ROUNDING, gradient.name


@pytest.mark.parametrize("of", ["input", "weight", "bias"])
@pytest.mark.parametrize("how", ["one element", "scale", "swapped", "NaN"])
def test_a_wrong_gradient_is_noticed(of, how):
    class Wrong(Conv2d):
        def backward(self, dy, *, needs_input_grad=True):
            dx = super().backward(dy)
            gradient = dx if of == "input" else getattr(self, of).grad
            if how == "one element":
                gradient.flat[-1] += 0.1 * np.abs(gradient).max()
            elif how == "scale":
                gradient *= 1.001
            elif how == "NaN":
                gradient.flat[0] = np.nan
            else:
                gradient.flat[:2] = gradient.flat[1::-1].copy()
            return dx

    explanation = explain(Sequential(Wrong(2, 3, 2, rng=0)), (2, 2, 5, 4))
    assert not explanation.agrees
    wrong = {g.of for g in explanation.gradients.values() if not g.disagreement < 1e-6}
    assert wrong == {of}


def test_no_value_is_normalised_to_the_kink_of_a_relu():
    """With equally spaced inputs one of these channels' values is its mean, and the ReLU after it stands at 0."""
    layer = BatchNorm2d(64, activation="relu", dtype="float64")
    for of, measured in disagreements(layer, (2, 64, 2, 2), np.random.default_rng(7)):
        assert measured.disagreement < max(1e-8, measured.uncertainty), of


def test_where_kinks_lie_at_every_step_differences_are_not_sure():
    """Of a loss that bends 3000 times within a step of 0.01, as normalised values beside a ReLU make it."""
    rng, sure_and_wrong = np.random.default_rng(0), 0
    for _ in range(60):
        kinks, slopes = rng.uniform(1e-6, 0.01, 3000) * rng.choice([-1, 1], 3000), rng.standard_normal(3000)

        def loss(moved, kinks=kinks, slopes=slopes):
            value = float(moved[0])
            beyond = np.where(kinks > 0, np.maximum(value - kinks, 0), np.maximum(kinks - value, 0))
            return np.exp(value) + (slopes * beyond).sum(), 3.0

        derivative, uncertainty = _along(loss, np.zeros(1), np.ones(1))
        sure_and_wrong += abs(derivative - 1) > max(1e-8, uncertainty)
    assert sure_and_wrong < 10


def test_a_smooth_layer_of_the_users_own_is_measured():
    class Tanh(Layer):
        def forward(self, x):
            y = np.tanh(x)
            self._keep(y)
            return y

        def backward(self, dy, *, needs_input_grad=True):
            return dy * (1 - self._kept() ** 2)

    explanation = explain(Sequential(Tanh(), Linear(4, 2, rng=0)), (3, 4))
    assert explanation.agrees
    assert list(explanation.gradients) == ["tanh.dx", "linear.dw", "linear.dx", "linear.db"]
    with pytest.raises(NotImplementedError, match="Tanh"):
        explanation.term("tanh.dx", (0, 0))


class Block(Layer):
    """A residual block as a user writes it; a wrong one's backward forgets the shortcut."""

    def __init__(self, wrong=False):
        self.conv, self.relu, self.wrong = Conv2d(2, 2, 3, padding=1, rng=0), ReLU(), wrong

    def forward(self, x):
        return self.relu(self.conv(x)) + x

    def backward(self, dy):
        dx = self.conv.backward(self.relu.backward(dy))
        return dx if self.wrong else dx + dy


def test_layers_that_hold_others(rng):
    """Those in them come first, each with what arrived at it; then how what they gave is joined."""
    net = Sequential(
        Block(),
        Residual(Conv2d(2, 2, 1, bias=False, rng=1)),
        Concatenate(Identity(), Sequential(Add(Conv2d(2, 3, 1, rng=2), Conv2d(2, 3, 1, rng=3)), ReLU())),
    )
    explanation = explain(net, (2, 2, 4, 3))
    assert explanation.agrees
    names = "conv1 relu1 block conv2 identity1 residual identity2 conv3 conv4 add relu2 concatenate"
    assert [step.name for step in explanation.steps] == names.split()
    for line in (
        "Forward: `Y = body(X) + shortcut(X)`",
        "Forward: `Y = branch 0, branch 1, one behind the other along axis 1`",
        "Forward: `Y = branch 0 + branch 1`",
        "## 3. block: `Block(conv=Conv2d(2, 2, (3, 3), padding=1), relu=ReLU())`",
    ):
        assert line in str(explanation).splitlines()
    for name in ("residual.dx", "add.dx", "concatenate.dx"):
        index = tuple(rng.integers(0, extent) for extent in explanation.gradients[name].shape)
        terms = explanation.term(name, index)
        assert len(terms.terms) == 2
        assert terms.total == pytest.approx(terms.computed, abs=1e-15)
    first, second = explanation.term("residual.dx", (0, 0, 0, 0)).terms
    assert first.factors[0][0] == "dX of body[0,0,0,0]"
    assert second.value == explanation.gradients["identity1.dx"].value[0, 0, 0, 0]
    with pytest.raises(NotImplementedError, match="Block"):
        explanation.term("block.dx", (0, 0, 0, 0))


def test_a_normalisation_with_a_residual(rng):
    """The block of ResNets: the terms follow the ReLU of the sum."""
    net = Sequential(ResidualBlock(2, [(2, 3, 1), (2, 3, 1)], "float32", rng), Linear(24, 2, rng=0))
    explanation = explain(net, (2, 2, 4, 3))
    assert explanation.agrees
    names = "conv1 batchnorm1 conv2 batchnorm2 residualblock linear"
    assert [step.name for step in explanation.steps] == names.split()
    assert "Y = max(W Z + b + residual, 0)" in explanation.steps[3].formulas.forward
    for name in ("batchnorm2.dx", "batchnorm2.dw", "batchnorm2.db"):
        index = tuple(rng.integers(0, extent) for extent in explanation.gradients[name].shape)
        terms = explanation.term(name, index)
        magnitude = sum(abs(term.value) for term in terms.terms)
        assert terms.total == pytest.approx(terms.computed, rel=0, abs=1e-13 * magnitude)


def test_a_gradient_that_nearly_cancels_is_right():
    """Of two values in a batch normalisation only eps keeps dX from 0, so finite differences hardly see it."""
    explanation = explain(BatchNorm2d(2), (2, 2, 1, 1))
    assert explanation.gradients["batchnorm.dx"].disagreement > 1e-8
    assert {gradient.verdict for gradient in explanation.gradients.values()} == {Verdict.AGREES}


def test_what_finite_differences_cannot_tell_is_said():
    explanation = explain(BatchNorm2d(2, eps=0), (2, 2, 1, 1))  # dX is 0
    dx = explanation.gradients["batchnorm.dx"]
    assert dx.verdict is Verdict.CANNOT_TELL
    assert "cannot tell" in dx.measured
    assert dx.measured in explanation.to_markdown()
    assert explanation.agrees


def test_a_wrong_normalisation_is_noticed():
    class Wrong(BatchNorm2d):
        def backward(self, dy, *, needs_input_grad=True):
            return super().backward(dy) * (1 + 1e-6)

    assert explain(Wrong(3), (4, 3, 5, 4)).gradients["batchnorm.dx"].verdict is Verdict.DISAGREES


@pytest.mark.parametrize(
    ("layer", "shape", "gradient", "index", "why"),
    [
        (MaxPool2d(2, 3), (1, 1, 5, 5), "pool.dx", (0, 0, 2, 0), "no window covers it"),
        (Conv2d(1, 1, 2, stride=3, rng=0), (1, 1, 5, 5), "conv.dx", (0, 0, 0, 2), "no window covers it"),
        (Conv2d(1, 1, 3, 3, 2, rng=0), (1, 1, 1, 1), "conv.dw", (0, 0, 0, 0), "this tap meets nothing but padding"),
        (AvgPool2d(1, 2), (1, 1, 3, 3), "pool.dx", (0, 0, 1, 1), "no window covers it"),
        (Upsample(size=(1, 1)), (1, 1, 2, 2), "upsample.dx", (0, 0, 1, 1), "no pixel of Y is taken from it"),
    ],
)
def test_why_there_are_no_products(layer, shape, gradient, index, why):
    terms = explain(layer, shape).term(gradient, index)
    assert terms.terms == ()
    assert terms.computed == 0
    assert terms.why_none == why


def test_another_element_won():
    explanation = explain(MaxPool2d(2, 1), (1, 1, 3, 3))
    explanation.steps[0].x = np.array([0.0, 0, 0, 0, -1, 0, 0, 0, 5]).reshape(1, 1, 3, 3)
    of = "; ".join(f"window {at} covers it, but its maximum stands elsewhere" for at in ("1,1", "1,0", "0,1", "0,0"))
    assert explanation.term("pool.dx", (0, 0, 1, 1)).why_none == of


def test_a_wrong_block_is_noticed():
    explanation = explain(Block(wrong=True), (2, 2, 4, 3))
    assert {name for name, g in explanation.gradients.items() if not g.disagreement < 1e-6} == {"block.dx"}


def test_a_mask_is_the_same_each_time():
    class Mask(Layer):
        def __init__(self):
            self.rng = np.random.default_rng(0)

        def forward(self, x):
            mask = self.rng.integers(0, 2, x.shape)
            self._keep(mask)
            return x * mask

        def backward(self, dy):
            return dy * self._kept()

    assert explain(Mask(), (3, 4)).agrees


def test_names_are_numbered_where_a_kind_repeats(of_everything):
    assert [step.name for step in of_everything.steps] == [
        "conv1",
        "relu1",
        "pool1",
        "conv2",
        "pool2",
        "flatten",
        "linear1",
        "relu2",
        "linear2",
    ]
    assert "conv2.db" not in of_everything.gradients


def test_terms_of_every_gradient_add_up(of_textbook, of_everything, rng):
    """Some elements of each gradient, first and last among them: the plain loops and the kernels agree."""
    for explanation in (of_textbook, of_everything):
        for name, gradient in explanation.gradients.items():
            indices = {tuple(rng.integers(0, extent) for extent in gradient.shape) for _ in range(8)}
            indices |= {(0,) * len(gradient.shape), tuple(extent - 1 for extent in gradient.shape)}
            for index in indices:
                terms = explanation.term(name, index)
                assert terms.computed == gradient.value[index]
                magnitude = sum(abs(term.value) for term in terms.terms)
                assert terms.total == pytest.approx(terms.computed, rel=0, abs=1e-13 * magnitude), (name, index)


def test_how_many_terms_there_are(of_textbook):
    """Counted by hand from the shapes of the text."""
    # row 4 is read by p=2 (r=0) and p=1 (r=2), column 6 by q=3 (s=0): two for each of the two kernels
    assert len(of_textbook.term("conv.dx", (0, 1, 4, 6)).terms) == 4
    assert len(of_textbook.term("conv.dw", (1, 2, 1, 0)).terms) == 10 * 14 * 14
    assert len(of_textbook.term("conv.db", (1, 0, 0)).terms) == 10 * 14 * 14
    assert len(of_textbook.term("linear.dx", (3, 1, 2, 4)).terms) == 32
    assert len(of_textbook.term("linear.dw", (31, 49)).terms) == 10
    assert len(of_textbook.term("linear.db", (31, 0)).terms) == 10
    # rows 2, 5, 8 and 11 lie between the windows of size 2 and stride 3
    assert of_textbook.term("pool.dx", (0, 0, 2, 0)).terms == ()


def test_a_term_names_its_factors(of_textbook):
    step = of_textbook.steps[0]
    first, *_ = of_textbook.term("conv.dx", (0, 1, 4, 6)).terms
    (dy_name, dy), (w_name, w) = first.factors
    assert dy_name == "dY[0,0,2,3]"
    assert dy == step.dy[0, 0, 2, 3]
    assert w_name == "W[0,1,0,0]"
    assert w == step.layer.weight.data[0, 1, 0, 0]
    assert first.value == dy * w


def test_terms_follow_ties_and_nan():
    """The first of equal maxima takes the gradient, and the last NaN before all numbers."""
    explanation = explain(Sequential(MaxPool2d(2)), (1, 1, 2, 2))
    step = explanation.steps[0]
    for values, winner in [([1, 3, 3, 2], 1), ([np.nan, 3, np.nan, 2], 2)]:
        step.x = np.array(values, float).reshape(1, 1, 2, 2)
        found = [len(explanation.term("pool.dx", (0, 0, *divmod(i, 2))).terms) for i in range(4)]
        assert found == [i == winner for i in range(4)]


@pytest.mark.parametrize(
    ("name", "index", "message"),
    [
        ("conv.dz", (0, 0, 0, 0), r"there is no gradient 'conv.dz'; there are conv.dw \(2, 3, 3, 2\), conv.dx"),
        ("pool.dw", (0,), "there is no gradient 'pool.dw'"),
        ("conv.dx", (0, 1, 4), "conv.dx has no element 0,1,4; expected 4 indices, from 0,0,0,0 to 9,2,28,27"),
        ("conv.dx", (0, 3, 4, 6), "conv.dx has no element 0,3,4,6; expected 4 indices"),
        ("conv.dx", (0, 1, 4, -1), "conv.dx has no element 0,1,4,-1"),
    ],
)
def test_what_is_possible_is_told(name, index, message, of_textbook):
    with pytest.raises(ValueError, match=message):
        of_textbook.term(name, index)


def test_markdown(of_textbook):
    text = str(of_textbook)
    assert text == of_textbook.to_markdown()
    assert f"{DIRECTIONS} random directions" in text
    for line in [
        "## 1. conv: `Conv2d(3, 2, (3, 2), stride=2)`",
        "| kernel | (2, 3, 3, 2) |",
        "Forward: `Y[n,k,p,q] = b[k] + Σ_c,r,s X[n,c,2p+r,2q+s] · W[k,c,r,s]`",
        "## 2. pool: `MaxPool2d((2, 2), stride=3)`",
        "## 3. linear: `Linear(50, 32, batch_axis=1)`",
    ]:
        assert line in text.splitlines()
    for gradient in of_textbook.gradients.values():
        assert f"| {gradient.name} | `{gradient.formula}` | {gradient.shape} | {gradient.disagreement:.1e} |" in text


def test_formulas_have_the_layers_numbers_in_them(of_everything):
    conv, _, pool, same, average, *_ = (step.formulas.forward for step in of_everything.steps)
    assert "X[n,c,2p+r-1,q+2s-2] · W[k,c,r,s], k and c of one of the 2 groups" in conv
    assert pool == "Y[n,c,p,q] = max_r,s X[n,c,2p+r-1,2q+s-1]"
    assert same == "Y[n,k,p,q] = Σ_c,r,s X[n,c,p+r,q+s] · W[k,c,r,s]"
    assert "X[n,c,p+r-1,q+s-1]" in average


def test_the_network_is_left_as_it_was():
    net = textbook().eval()
    before = net.state_dict()
    explain(net, (2, 3, 29, 28))
    assert not net.training
    for name, p in net.named_parameters():
        assert p.data.dtype == np.float32
        np.testing.assert_array_equal(p.data.reshape(before[name].shape), before[name])
        assert p.grad is None


def test_same_seed_same_numbers():
    one, same, other = (explain(textbook(), (2, 3, 29, 28), seed=seed) for seed in (3, 3, 4))
    assert str(one) == str(same)
    assert str(one) != str(other)


def test_an_input_of_ones_own(rng):
    x = rng.standard_normal((2, 3, 29, 28)).astype(np.float32)
    explanation = explain(textbook(), x=x)
    assert explanation.agrees
    assert explanation.input_shape == x.shape
    np.testing.assert_array_equal(explanation.steps[0].x, x.astype(np.float64))
    with pytest.raises(ValueError, match="explain: expected either input_shape or x"):
        explain(textbook(), x.shape, x=x)
    with pytest.raises(ValueError, match="explain: expected either input_shape or x"):
        explain(textbook())
    with pytest.raises(TypeError):
        explain(textbook(), x=[[1.0]])


def test_empty_batch():
    assert explain(textbook(), (0, 3, 29, 28)).agrees


def test_bad_arguments():
    with pytest.raises(TypeError, match="explain: net is a function; expected a Layer"):
        explain(lambda x: x, (1, 1, 1, 1))
    with pytest.raises(ValueError, match="explain: input_shape is -1"):
        explain(textbook(), (1, 3, -1, 28))
    with pytest.raises(ValueError, match="conv2d: w"):
        explain(textbook(), (1, 4, 29, 28))
