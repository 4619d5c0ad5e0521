"""The forms by others: the textbook's, which benchmarks judge by, and how one declines what it cannot do."""

from __future__ import annotations

import numpy as np
import pytest
import reference

from backstride import kernels
from backstride.benchmarks.cases import FUNCTIONS, awkward_cases, peers_of
from backstride.conformance import calls
from backstride.kernels.conv import peers as conv
from backstride.kernels.conv.geometry import ConvGeometry
from backstride.kernels.operation import as_tuple
from backstride.kernels.pool import peers as pool
from backstride.kernels.pool.geometry import PoolGeometry


@pytest.mark.parametrize("name", [name for name, (operation, _) in FUNCTIONS.items() if operation.family.cases])
def test_the_textbook_is_the_definition(name):
    operation = FUNCTIONS[name].operation
    for case in awkward_cases(FUNCTIONS[name], "float64"):
        found = as_tuple(peers_of(operation).TEXTBOOK[operation.name](*case.arrays, case.geometry))
        arguments = (*map(_signed, case.arrays), case.geometry)
        definition = calls.public_call(operation, case.configuration, arguments, getattr(reference, name))
        for got, expected in zip(map(_signed, found), as_tuple(definition()), strict=True):
            assert got.shape == expected.shape
            # multiples of a half up to 5: sums of up to 600 products, each below 25, in float64, or what 1/sqrt(eps)
            # has made larger
            np.testing.assert_allclose(got, expected, rtol=1e-14, atol=1e-11, err_msg=case.label)


def _signed(a):
    """Taps as the reference has them: -1 stands for none."""
    return a if a is None or a.dtype.kind == "f" else np.where(a == np.iinfo(a.dtype).max, -1, a.astype(np.int64))


def _geometry(w_shape, **options):
    return ConvGeometry.of(
        "conv2d", (2, 3, 4, 4), w_shape, **{"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | options
    )


def test_a_batch_of_matrices_that_cupy_does_not_multiply_is_declined():
    class Bfloat16(np.ndarray):
        def __matmul__(self, other):
            raise TypeError("data type 'E' not understood")

    g = _geometry((5, 3, 1, 1))
    x, w, b = (np.ones(shape).view(Bfloat16) for shape in (g.x_shape, g.w_shape, g.b_shape))
    with pytest.raises(NotImplementedError, match="data type 'E'"):
        conv.CUBLAS["conv"](x, w, b, g)


@pytest.mark.parametrize("options", [{"stride": 2}, {"padding": 1}, {"padding": ((0, 1), (0, 0))}])
def test_a_convolution_that_is_no_matrix_product_is_declined(options):
    g = _geometry((5, 3, 1, 1), **options)
    with pytest.raises(NotImplementedError, match="not a plain matrix product"):
        conv.CUBLAS["conv"](*map(np.ones, (g.x_shape, g.w_shape, g.b_shape)), g)


def test_padding_that_differs_is_declined_by_pytorch():
    pytest.importorskip("torch", reason="the peer under test")
    g = _geometry((5, 3, 3, 3), padding=((0, 1), (0, 0)))
    with pytest.raises(NotImplementedError, match="pads both sides of an axis alike"):
        conv.TORCH["conv"](*map(np.ones, (g.x_shape, g.w_shape, g.b_shape)), g)


def test_pytorch_is_given_channels_last_as_its_own(monkeypatch, torch, rng):
    """Views of the same memory, and a result that is turned round without a copy."""
    seen, theirs = [], torch.nn.functional.conv2d

    def conv2d(*arguments):
        seen.append(arguments)
        return theirs(*arguments)

    monkeypatch.setattr(torch.nn.functional, "conv2d", conv2d)
    options = {"stride": 1, "padding": 1, "dilation": 1, "groups": 2, "layout": "NHWC"}
    g = ConvGeometry.of("conv2d", (2, 5, 4, 6), (4, 3, 3, 3), **options)
    arrays = [rng.standard_normal(shape) for shape in (g.x_shape, g.w_shape, g.b_shape)]
    given = list(map(torch.from_numpy, arrays))
    y = conv.TORCH["conv"](*given, g)()
    ((x, w, *_),) = seen
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert w.is_contiguous(memory_format=torch.channels_last)
    assert (x.data_ptr(), w.data_ptr()) == (given[0].data_ptr(), given[1].data_ptr())
    assert y.is_contiguous()
    np.testing.assert_allclose(y.numpy(), conv.TEXTBOOK["conv"](*arrays, g), rtol=1e-13, atol=1e-13)  # 27 products


def test_positions_of_taps_on_many_planes(rng):
    """More planes of one window than NumPy buffers at a time, beside our indices and the argmax."""
    x = rng.standard_normal((9, 2048, 5, 3))
    _, taps = kernels.max_pool2d(x, (5, 3))
    positions = pool.positions_of(taps, PoolGeometry.of("max_pool2d", x.shape, (5, 3)))
    np.testing.assert_array_equal(positions.reshape(9, 2048), x.reshape(9, 2048, 15).argmax(axis=2))
