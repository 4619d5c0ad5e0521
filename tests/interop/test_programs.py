"""The calls that programs make of cupy.cudnn, replayed as they make them: which functions, with which arguments in
which order and by which names, and arrays of which dtypes and strides. The file that makes them is named."""

from __future__ import annotations

import numpy as np
import pytest
from accuracy import assert_exact, integers

from backstride.interop import cudnn


def writable(path, a):
    return path.asarray(a).copy()


# --- SigPy 0.1.27, sigpy/conv.py: _convolve_cuda, _convolve_data_adjoint_cuda, _convolve_filter_adjoint_cuda ------
SIGPY = {"auto_tune": True, "tensor_core": "auto"}


def of_sigpy(m, n, strides, mode):
    """Extents of an output, and the arguments after the arrays."""
    pads = tuple(n_d - 1 for n_d in n) if mode == "full" else (0,) * len(n)
    longest = (m_d + n_d - 1 if mode == "full" else m_d - n_d + 1 for m_d, n_d in zip(m, n, strict=True))
    p = tuple((each + s_d - 1) // s_d for each, s_d in zip(longest, strides, strict=True))
    return p, (pads, tuple(strides), (1,) * len(m), 1)


def flipped(a, d):
    """As sigpy.util.flip does it: a view of negative strides."""
    return a[(..., *[slice(None, None, -1)] * d)]


def convolved(data, filt, mode, strides):
    """Convolution as signal processing defines it, summed by the elements of the filter; data (B, c_i, *m), filt
    (c_o, c_i, *n)."""
    n = filt.shape[2:]
    full = np.zeros((data.shape[0], filt.shape[0], *(m + k - 1 for m, k in zip(data.shape[2:], n, strict=True))))
    for tap in np.ndindex(*n):
        box = tuple(slice(t, t + m) for t, m in zip(tap, data.shape[2:], strict=True))
        full[(..., *box)] += np.einsum("bi...,oi->bo...", data, filt[(..., *tap)])
    if mode == "valid":
        full = full[(..., *(slice(k - 1, full.shape[i + 2] - k + 1) for i, k in enumerate(n)))]
    return full[(..., *(slice(None, None, s) for s in strides))]


@pytest.mark.parametrize(("mode", "dtype"), [("full", "float32"), ("valid", "float64")])
@pytest.mark.parametrize(
    ("m", "n", "strides"),
    [((9, 1), (4, 1), (2, 1)), ((6, 7), (3, 2), (1, 3)), ((4, 5, 6), (2, 3, 2), (2, 1, 2))],  # one axis has another
)
def test_sigpy(path, m, n, strides, mode, dtype, rng):
    d, (p, rest) = len(m), of_sigpy(m, n, strides, mode)
    data, filt, output = (integers(rng, shape) for shape in ((2, 3, *m), (4, 3, *n), (2, 4, *p)))
    exact = convolved(data, filt, mode, strides)
    on_data, on_filt, on_output = (path.asarray(each.astype(dtype)) for each in (data, filt, output))

    y = writable(path, np.empty((2, 4, *p), dtype))
    cudnn.convolution_forward(on_data, flipped(on_filt, d), None, y, *rest, **SIGPY)
    assert_exact(path.to_numpy(y), exact)

    # both adjoints, from what they are: <convolved(x, f), output> is <x, data adjoint> and <f, filter adjoint>
    x = writable(path, np.empty(data.shape, dtype))
    cudnn.convolution_backward_data(flipped(on_filt, d), on_output, None, x, *rest, deterministic=False, **SIGPY)
    f = writable(path, np.empty(filt.shape, dtype))
    cudnn.convolution_backward_filter(on_data, on_output, f, *rest, deterministic=False, **SIGPY)
    for _ in range(5):
        some, other = integers(rng, data.shape), integers(rng, filt.shape)
        assert (convolved(some, filt, mode, strides) * output).sum() == (some * path.to_numpy(x)).sum()
        filter_adjoint = flipped(path.to_numpy(f), d)
        assert (convolved(data, other, mode, strides) * output).sum() == (other * filter_adjoint).sum()


@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_sigpy_convolves_complex_numbers_by_four_real_ones(dtype, rng):
    """sigpy/conv.py, _complex: the real and imaginary parts are views of every other number."""
    data, filt = (integers(rng, shape) + 1j * integers(rng, shape) for shape in ((2, 1, 5, 6), (1, 1, 3, 2)))
    on_data, on_filt = data.astype(dtype), filt.astype(dtype)
    p, rest = of_sigpy((5, 6), (3, 2), (1, 1), "full")

    def real(x, w):
        output = np.empty((2, 1, *p), x.dtype)
        cudnn.convolution_forward(x, flipped(w, 2), None, output, *rest, **SIGPY)
        return output

    output = real(on_data.real, on_filt.real) - real(on_data.imag, on_filt.imag)
    output = output + 1j * (real(on_data.imag, on_filt.real) + real(on_data.real, on_filt.imag))
    parts = (convolved(a, b, "full", (1, 1)) for a in (data.real, data.imag) for b in (filt.real, filt.imag))
    rr, ri, ir, ii = parts
    np.testing.assert_array_equal(output, rr - ii + 1j * (ir + ri))


def test_sigpy_itself_on_a_gpu(rng):
    """Its results on CuPy's arrays are those on NumPy's, which SciPy computes."""
    from backstride import backend

    if backend.probe_cupy().failed is not None:
        pytest.skip(f"no GPU here: {backend.probe_cupy().reason}")
    cudnn.install()
    sigpy = pytest.importorskip("sigpy")
    cupy = backend.import_cupy()
    for dtype in ("float32", "float64", "complex64", "complex128"):
        close = 1e-5 if dtype in ("float32", "complex64") else 1e-12
        for mode, strides in (("full", None), ("valid", (2, 1, 2))):
            for d in (1, 2, 3):
                options = {"mode": mode, "strides": strides and strides[:d], "multi_channel": True}
                shapes = ((2, 3, *(6, 5, 4)[:d]), (4, 3, *(3, 2, 2)[:d]))
                data, filt = ((rng.standard_normal(s) + 1j * rng.standard_normal(s)).astype(dtype) for s in shapes)
                output = sigpy.convolve(data, filt, **options)
                calls = (
                    (sigpy.convolve, (data, filt)),
                    (sigpy.convolve_data_adjoint, (output, filt, data.shape)),
                    (sigpy.convolve_filter_adjoint, (output, data, filt.shape)),
                )
                for function, arguments in calls:
                    moved = (cupy.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments)
                    got, expected = function(*moved, **options).get(), function(*arguments, **options)
                    assert got.dtype == expected.dtype
                    np.testing.assert_allclose(got, expected, rtol=close, atol=close * 10)  # sums of 48 products


# --- Chainer 7.8.1 -------------------------------------------------------------------------------------------------
def outsize(size, k, s, p, cover_all=False, d=1):
    """chainer/utils/conv.py, get_conv_outsize."""
    dk = k + (k - 1) * (d - 1)
    return (size + p * 2 - dk + s - 1) // s + 1 if cover_all else (size + p * 2 - dk) // s + 1


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_chainer_convolution_2d(path, dtype, rng):
    """chainer/functions/connection/convolution_2d.py, _forward_cudnn of Convolution2DFunction and Convolution2DGradW;
    deconvolution_2d.py, _forward_cudnn, which also is the gradient of x."""
    pad, stride, dilation, groups = (1, 0), (2, 1), (1, 2), 2
    layouts = {"d_layout": cudnn.CUDNN_TENSOR_NCHW, "w_layout": cudnn.CUDNN_TENSOR_NCHW}
    forward = {"auto_tune": False, "tensor_core": "auto", **layouts}
    backward = {"deterministic": False, **forward}
    sizes = tuple(outsize(*each) for each in ((9, 3, 2, 1, False, 1), (8, 2, 1, 0, False, 2)))
    x, W, b, gy = (integers(rng, shape) for shape in ((2, 4, 9, 8), (6, 2, 3, 2), (6,), (2, 6, *sizes)))
    on_x, on_W, on_b, on_gy = (path.asarray(each.astype(dtype)) for each in (x, W, b, gy))
    y, gW, gx = (writable(path, np.empty(each.shape, dtype)) for each in (gy, W, x))
    cudnn.convolution_forward(on_x, on_W, on_b, y, pad, stride, dilation, groups, **forward)
    cudnn.convolution_backward_filter(on_x, on_gy, gW, pad, stride, dilation, groups, **backward)
    cudnn.convolution_backward_data(on_W, on_gy, None, gx, pad, stride, dilation, groups, **backward)

    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    exact_y, exact_gW, exact_gx = np.zeros(gy.shape), np.zeros(W.shape), np.zeros(padded.shape)
    for g, r, s in np.ndindex(2, 3, 2):
        c, k = slice(2 * g, 2 * g + 2), slice(3 * g, 3 * g + 3)
        under = (slice(None), c, slice(r, r + 2 * sizes[0] - 1, 2), slice(2 * s, 2 * s + sizes[1]))
        exact_y[:, k] += np.einsum("nchw,kc->nkhw", padded[under], W[k, :, r, s])
        exact_gW[k, :, r, s] = np.einsum("nchw,nkhw->kc", padded[under], gy[:, k])
        exact_gx[under] += np.einsum("nkhw,kc->nchw", gy[:, k], W[k, :, r, s])
    assert_exact(path.to_numpy(y), exact_y + b[:, None, None])
    assert_exact(path.to_numpy(gW), exact_gW)
    assert_exact(path.to_numpy(gx), exact_gx[:, :, 1:-1])


@pytest.mark.parametrize(("ksize", "stride", "pad"), [((3, 3), (2, 2), (0, 0)), ((2, 3), (2, 2), (1, 1))])
def test_chainer_max_pooling_2d(path, ksize, stride, pad, rng):
    """chainer/functions/pooling/pooling_nd.py, _CudnnPoolingNDImpl, with the mode of max_pooling_nd.py; by default
    with cover_all, by which a window may reach past the padding."""
    x = rng.permutation(2 * 3 * 8 * 7).reshape(2, 3, 8, 7).astype(np.float32)
    y_shape = (2, 3, *(outsize(*each, True) for each in zip((8, 7), ksize, stride, pad, strict=True)))
    y, gy = writable(path, np.empty(y_shape, np.float32)), integers(rng, y_shape).astype(np.float32)
    on_x = path.asarray(x)
    cudnn.pooling_forward(on_x, y, ksize, stride, pad, cudnn.CUDNN_POOLING_MAX)
    gx = cudnn.pooling_backward(on_x, y, path.asarray(gy), ksize, stride, pad, cudnn.CUDNN_POOLING_MAX)

    exact_y, exact_gx = np.empty(y_shape), np.zeros((2, 3, 8 + 8, 7 + 8))
    padded = np.pad(x, ((0, 0), (0, 0), (pad[0], 8 - pad[0]), (pad[1], 8 - pad[1])), constant_values=-1)
    for n, c, p, q in np.ndindex(*y_shape):
        top, left = p * stride[0], q * stride[1]
        window = padded[n, c, top : top + ksize[0], left : left + ksize[1]]
        row, column = np.unravel_index(window.argmax(), window.shape)
        exact_y[n, c, p, q] = window.max()
        exact_gx[n, c, top + row, left + column] += gy[n, c, p, q]
    np.testing.assert_array_equal(path.to_numpy(y), exact_y)
    np.testing.assert_array_equal(path.to_numpy(gx), exact_gx[:, :, pad[0] : pad[0] + 8, pad[1] : pad[1] + 7])


@pytest.mark.parametrize(
    ("dtype", "parameters"), [("float32", "float32"), ("float16", "float32"), ("float16", "float16")]
)
def test_chainer_batch_normalization(path, dtype, parameters, rng):
    """chainer/functions/normalization/batch_normalization.py, _CudnnBatchNormalizationImpl: without running statistics
    it makes dummies of x's dtype; links keep gamma and beta in float32 or in x's dtype."""
    eps, decay, close = 2e-5, 0.9, 4e-3 if "float16" in (dtype, parameters) else 2e-5  # a few roundings
    assert eps >= cudnn.CUDNN_BN_MIN_EPSILON
    x, gy = (rng.integers(-8, 9, (4, 3, 5, 2)) / 4 for _ in range(2))
    gamma, beta = (path.asarray(rng.integers(1, 5, 3).astype(parameters)) for _ in range(2))
    on_x, on_gy = (path.asarray(each.astype(dtype)) for each in (x, gy))
    dummies = [writable(path, np.zeros(3, dtype)) for _ in range(2)]
    reserve_space, y, mean, inv_std = cudnn.batch_normalization_forward_training_ex(
        on_x, gamma, beta, *dummies, None, None, eps, decay, True, cudnn.CUDNN_BATCHNORM_SPATIAL, False,
        d_layout=cudnn.CUDNN_TENSOR_NCHW
    )  # fmt: skip
    gx, ggamma, gbeta = cudnn.batch_normalization_backward(
        on_x, gamma, on_gy, mean, inv_std, eps, True, cudnn.CUDNN_BATCHNORM_SPATIAL, False,
        d_layout=cudnn.CUDNN_TENSOR_NCHW, reserve_space=reserve_space
    )  # fmt: skip
    scale, shift = (path.to_numpy(each).astype(np.float64)[:, None, None] for each in (gamma, beta))
    z = (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + eps)
    along = {"axis": (0, 2, 3), "keepdims": True}
    exact = scale / np.sqrt(x.var(**along) + eps) * (gy - gy.mean(**along) - z * (gy * z).mean(**along))
    sums = (gy * z).sum((0, 2, 3)), gy.sum((0, 2, 3))
    for got, expected in ((y, scale * z + shift), (gx, exact), (ggamma, sums[0]), (gbeta, sums[1])):
        np.testing.assert_allclose(path.to_numpy(got).astype(np.float64), expected, rtol=close, atol=4 * close)
    assert (y.dtype, gx.dtype) == (np.dtype(dtype),) * 2
    np.testing.assert_allclose(path.to_numpy(dummies[0]).astype(np.float64), 0.1 * x.mean((0, 2, 3)), atol=1e-3)


def test_chainer_relu_passes_y_for_x(path, rng):
    """chainer/functions/activation/relu.py, ReLUGrad3: the gradient is asked for with y in the place of x."""
    x, gy = integers(rng, (3, 4)), integers(rng, (3, 4))
    y = cudnn.activation_forward(path.asarray(x), cudnn.CUDNN_ACTIVATION_RELU)
    gx = cudnn.activation_backward(y, y, path.asarray(gy), cudnn.CUDNN_ACTIVATION_RELU)
    np.testing.assert_array_equal(path.to_numpy(y), np.maximum(x, 0))
    np.testing.assert_array_equal(path.to_numpy(gx), gy * (x > 0))
