"""What docs/recipes.md says to type works."""

from __future__ import annotations

import itertools
import subprocess
import sys
import types

import numpy as np
import pytest
import shown

from backstride import kernels

INSTALL, DEZERO, AUTOGRAD, SIGNAL = shown.python(shown.page("docs/recipes.md"))

# what sigpy/config.py does of SigPy 0.1.27
ASKS = """
from importlib import util
cudnn_enabled = util.find_spec("cupy.cuda.cudnn") is not None
if cudnn_enabled:
    from cupy import cudnn
"""


def test_a_program_finds_cudnn(tmp_path):
    for package, text in {
        "cupy": "ndarray = type('ndarray', (), {})",
        "cupy/cuda": "",
        "cupyx": "",
        "sigpy": ASKS,
    }.items():
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(text)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{INSTALL}\nassert sigpy.cudnn is cudnn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


class Variable:
    """DeZero's, as far as a function meets it (dezero/core.py; its release on PyPI does not run beside NumPy 2)."""

    def __init__(self, data):
        self.data = data


class Function:
    def __call__(self, *inputs):
        self.inputs = inputs
        return Variable(self.forward(*(each.data for each in inputs)))


def test_a_function_for_dezero(monkeypatch, rng):
    dezero = types.SimpleNamespace(Function=Function, as_variable=Variable)
    monkeypatch.setitem(sys.modules, "dezero", dezero)
    names = {}
    exec(DEZERO, names)
    arrays = [rng.standard_normal(shape) for shape in ((2, 3, 6, 5), (4, 3, 3, 2), (4,))]
    function = names["Convolution"](stride=2, padding=1)
    y = function(*map(Variable, arrays)).data
    np.testing.assert_array_equal(y, kernels.conv2d(*arrays, stride=2, padding=1))
    gradients = kernels.conv2d_grads(y, *arrays[:2], stride=2, padding=1)
    for got, array, expected in zip(function.backward(Variable(y)), arrays, gradients, strict=True):
        np.testing.assert_array_equal(got.data, expected.reshape(array.shape), strict=True)


def test_primitives_of_autograd(rng):
    pytest.importorskip("autograd")
    from autograd import numpy as anp
    from autograd.test_util import check_grads

    names = {}
    exec(AUTOGRAD, names)
    conv2d, max_pool2d = names["conv2d"], names["max_pool2d"]
    x, w, b = (rng.standard_normal(shape) for shape in ((2, 3, 5, 4), (2, 3, 3, 2), (2,)))
    check_grads(lambda *a: anp.tanh(conv2d(*a, stride=2, padding=1)), modes=["rev"], order=2)(x, w, b)
    apart = rng.permutation(2 * 3 * 6 * 6).reshape(2, 3, 6, 6) * 0.1  # no maximum changes hands within a step
    check_grads(lambda x: max_pool2d(x, 3, stride=2) ** 2, modes=["rev"], order=1)(apart)


@pytest.mark.parametrize("mode", ["full", "valid"])
@pytest.mark.parametrize(("extents", "taps"), [((7,), (3,)), ((5, 6), (2, 3)), ((4, 3, 5), (2, 2, 3))])
def test_convolution_as_in_scipy(extents, taps, mode, rng):
    names = {}
    exec(SIGNAL, names)
    image, kernel = rng.integers(-8, 9, extents) * 1.0, rng.integers(-8, 9, taps) * 1.0
    full = np.zeros([extent + tap - 1 for extent, tap in zip(extents, taps, strict=True)])
    for at in itertools.product(*map(range, extents)):
        full[tuple(slice(p, p + tap) for p, tap in zip(at, taps, strict=True))] += image[at] * kernel
    inner = tuple(slice(tap - 1, extent) for tap, extent in zip(taps, extents, strict=True))
    np.testing.assert_array_equal(names["convolve"](image, kernel, mode), full if mode == "full" else full[inner])
