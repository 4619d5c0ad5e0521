"""The comparing path, over stand-ins for the CUDA path: right ones pass, and each kind of wrong one is reported."""

from __future__ import annotations

from dataclasses import replace

import emulator
import numpy as np
import pytest
from accuracy import DTYPES, dtype_of, normal
from small_cases import SMALL

from backstride import backend, kernels, use_float32_precision
from backstride.conformance import calls
from backstride.conformance.recording import noting
from backstride.kernels import FUNCTIONS, dispatch
from backstride.kernels.accuracy import worst
from backstride.kernels.compare import DivergenceError, compared
from backstride.kernels.conv.geometry import ConvGeometry
from backstride.kernels.linear.geometry import LinearGeometry
from backstride.kernels.operation import PLAIN, geometry_of, implementation
from backstride.kernels.pool import cuda

CONV = geometry_of(*SMALL["conv2d"])


def numpy_path(operation: str):
    return implementation(FUNCTIONS[operation].operation, PLAIN)


def arguments_of(name: str, draw) -> tuple:
    """The arguments of the operation's small case, its arrays drawn by their shapes."""
    operation, case = SMALL[name]
    return calls.call(operation, case, calls.numbers(operation, lambda each, shape: draw(shape)))


def comparing(operation: str, *arguments):
    """The NumPy path, compared."""
    return compared(FUNCTIONS[operation].operation.name, numpy_path(operation), arguments)


def spoiled(operation: str, spoil, *arguments):
    """The NumPy path, compared after its first output is changed by `spoil`."""

    def compute(*arguments):
        result = numpy_path(operation)(*arguments)
        first, *rest = result if isinstance(result, tuple) else (result,)
        changed = spoil(first.copy())
        return (changed, *rest) if rest else changed

    return compared(FUNCTIONS[operation].operation.name, compute, arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", FUNCTIONS)
def test_a_right_path_passes(operation, dtype, rng):
    arguments = arguments_of(operation, lambda shape: normal(rng, shape, dtype).astype(dtype_of(dtype)))
    result = comparing(operation, *arguments)
    expected = numpy_path(operation)(*arguments)
    pairs = zip(result, expected, strict=True) if isinstance(expected, tuple) else [(result, expected)]
    for got, want in pairs:
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", FUNCTIONS)
def test_one_wrong_element_is_found(operation, dtype, rng):
    arguments = arguments_of(operation, lambda shape: normal(rng, shape, dtype).astype(dtype_of(dtype)))

    def spoil(result):
        result.flat[-1] += 1
        return result

    index = numpy_path(operation)(*arguments)
    index = tuple(n - 1 for n in (index[0] if isinstance(index, tuple) else index).shape)
    with pytest.raises(DivergenceError) as caught:
        spoiled(operation, spoil, *arguments)
    assert str(caught.value).startswith(f"{operation}(")
    assert f"output 0 at {index} is" in str(caught.value)


@pytest.mark.parametrize("operation", ["conv2d", "conv2d_weight_grad", "linear", "avg_pool2d"])
def test_an_error_a_few_bounds_large_is_found(operation, rng):
    """Four times what is allowed where sum|a||b| is largest: far below what any comparison by eye would see."""
    arguments = arguments_of(operation, lambda shape: normal(rng, shape, "float32").astype(np.float32))
    record, (*inputs, geometry) = FUNCTIONS[operation].operation, arguments
    inputs = tuple(a.astype(np.float64) for a in inputs)
    exact = numpy_path(operation)(*inputs, geometry)
    magnitude = record.magnitudes(numpy_path(operation), inputs, geometry)
    at = np.unravel_index(np.argmax(magnitude), magnitude.shape)
    step = 4 * (record.outputs[0].terms(geometry) + 2) * np.finfo(np.float32).eps * magnitude[at]

    def spoil(result):
        result[at] = exact[at] + step
        return result

    with use_float32_precision("ieee"), pytest.raises(DivergenceError, match=r"\([34]\.?\d* times the rounding bound"):
        spoiled(operation, spoil, *arguments)


def test_tensor_core_precision_is_allowed_only_where_it_was_asked_for(rng):
    """Operands cut to TF32's 11 bits are wrong by far more than float32's rounding."""
    arguments = arguments_of("linear", lambda shape: normal(rng, shape, "float32").astype(np.float32))

    def cut(a):
        return (a.view(np.uint32) + 0x1000 & 0xFFFFE000).view(np.float32)

    def tf32(x, w, b, geometry):
        return numpy_path("linear")(cut(x), cut(w), b, geometry)

    with use_float32_precision("tf32"):
        compared("linear", tf32, arguments)
    for precision in ("ieee", "auto", "tf32x3"):
        with use_float32_precision(precision), pytest.raises(DivergenceError):
            compared("linear", tf32, arguments)


def test_a_record_may_bring_its_own_error(rng):
    operation, _ = SMALL["linear"]
    arguments = arguments_of("linear", lambda shape: rng.standard_normal(shape))
    results = (numpy_path("linear")(*arguments) + 1e-6,)
    wide = replace(operation, magnitudes=lambda compute, inputs, g: np.full(g.y_shape, 1e9))
    assert worst(operation, arguments, results).ratio > 1 > worst(wide, arguments, results).ratio


def non_finite():
    """Every operation with each value; but some rooms' results are bounded or stop infinities, and dropout anything."""
    for name, function in FUNCTIONS.items():
        room = function.operation.family.room
        if not name.endswith("_indices") and room != "dropout":
            yield name, np.nan
            if room not in ("activation", "softmax", "loss"):
                yield from ((name, np.inf), (name, -np.inf))


@pytest.mark.parametrize(("operation", "value"), list(non_finite()))
@np.errstate(invalid="ignore")
def test_non_finite_values_agree_by_position(operation, value, rng):
    def make(shape):
        numbers = rng.standard_normal(shape).astype(np.float32)
        numbers.flat[:: max(1, numbers.size // 2)] = value
        return numbers

    arguments = arguments_of(operation, make)
    if value == -np.inf and FUNCTIONS[operation].operation.name == "max_pool":
        arguments = np.full_like(arguments[0], -np.inf), arguments[-1]
    comparing(operation, *arguments)

    def finite(result):
        assert not np.isfinite(result).all()
        return np.where(np.isfinite(result), result, np.finfo(np.float32).max)

    with pytest.raises(DivergenceError):
        spoiled(operation, finite, *arguments)


@np.errstate(invalid="ignore")
def test_a_product_of_padding_and_infinity_is_a_fault(rng):
    """0 * inf: the tap of the infinite weight takes no part in the corner, and is everything in the middle."""
    g = ConvGeometry.of("conv2d", (1, 1, 3, 3), (1, 1, 3, 3), stride=1, padding=1, dilation=1, groups=1)
    x, w = np.ones(g.x_shape, np.float32), np.ones(g.w_shape, np.float32)
    w[0, 0, 0, 0] = np.inf
    assert numpy_path("conv2d")(x, w, None, g)[0, 0].tolist() == [[4, 6, 4], [6, np.inf, np.inf], [4, np.inf, np.inf]]

    def spoil(at, value):
        def spoiling(y):
            y[0, 0][at] = value
            return y

        return spoiling

    spoiled("conv2d", spoil((0, 0), 4), x, w, None, g)
    for at, wrong in (((0, 0), np.nan), ((0, 0), np.inf), ((1, 1), 9.0), ((1, 1), -np.inf)):
        with pytest.raises(DivergenceError):
            spoiled("conv2d", spoil(at, wrong), x, w, None, g)


@pytest.mark.parametrize("wrong", [-np.inf, np.nan, 0.0, 65504.0 / 2])
@np.errstate(over="ignore")
def test_overflow_of_a_16_bit_result_is_expected(wrong):
    """300 * 300 = 90000 is infinity in float16, and nothing else."""
    g = LinearGeometry(1, 1, 1, 0)
    x = np.full((1, 1), 300, np.float16)
    assert comparing("linear", x, x, None, g).item() == np.inf
    with pytest.raises(DivergenceError):
        spoiled("linear", lambda y: np.full_like(y, wrong), x, x, None, g)


def test_an_unwritten_element_outside_every_window_is_found():
    """Stride 3 with a 1x1 kernel: most of dx is 0 without any rounding, so the bound there is 0."""
    g = ConvGeometry.of("conv2d", (1, 1, 5, 5), (1, 1, 1, 1), stride=3, padding=0, dilation=1, groups=1)
    arguments = np.ones(g.y_shape), np.ones(g.w_shape), g

    def spoil(dx):
        dx[0, 0, 1, 1] = 1e-300
        return dx

    with pytest.raises(DivergenceError, match=r"at \(0, 0, 1, 1\) is 1e-300, expected 0.0"):
        spoiled("conv2d_input_grad", spoil, *arguments)


def test_the_message_names_the_arguments_and_a_file_with_the_inputs(rng, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    x, w = (normal(rng, shape, "bfloat16").astype(dtype_of("bfloat16")) for shape in (CONV.x_shape, CONV.w_shape))
    with pytest.raises(DivergenceError) as caught:
        spoiled("conv2d", np.zeros_like, x, w, None, CONV)
    message = str(caught.value)
    assert message.startswith("conv2d(x=bfloat16[3, 4, 9, 8], w=bfloat16[6, 2, 3, 2], b=None, geometry=ConvGeometry(")
    (file,) = tmp_path.iterdir()
    assert message.endswith(f"inputs saved in {file}")
    with np.load(file) as saved:
        np.testing.assert_array_equal(saved["x"], x.astype(np.float32))
        np.testing.assert_array_equal(saved["w"], w.astype(np.float32))
        assert (saved["operation"], saved["b"], saved["geometry"]) == ("conv2d", "None", repr(CONV))


def test_a_full_disk_hides_no_divergence(rng, tmp_path, monkeypatch):
    """H9"""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("os.fsync", full)
    x, w = (normal(rng, shape, "float32") for shape in (CONV.x_shape, CONV.w_shape))
    with pytest.raises(DivergenceError, match=r"inputs saved in no file \(\[Errno 28\] No space left on device"):
        spoiled("conv2d", np.zeros_like, x, w, None, CONV)
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_copied_before_the_kernel_runs(rng):
    """A kernel that spoils its input and then computes rightly from it must not be believed."""
    arguments = arguments_of("linear_bias_grad", lambda shape: normal(rng, shape, "float32").astype(np.float32))

    def spoiling(dy, geometry):
        dy[0] = 0
        return numpy_path("linear_bias_grad")(dy, geometry)

    with pytest.raises(DivergenceError):
        compared("linear_bias_grad", spoiling, arguments)


def test_the_backend_switch_puts_it_above_the_cuda_path(monkeypatch):
    """A wrong kernel is found, and the calls of one that is noted are made all the same."""
    x, zeros = np.ones((1, 1, 2, 2)), lambda x, geometry: np.zeros(geometry.y_shape)
    monkeypatch.setattr(dispatch, "is_cupy", lambda array: True)
    monkeypatch.setattr(dispatch, "get_backend", lambda: "compare")
    monkeypatch.setattr(cuda, "avg_pool", zeros)
    noted = []
    with pytest.raises(DivergenceError), noting(noted.append):
        kernels.avg_pool2d(x, 2)
    assert noted == ["avg_pool2d --x 1,1,2,2 --kernel-size 2,2 --stride 2,2 --dtype float64"]


def test_on_cupy_arrays(monkeypatch, rng):
    """The emulator's CuPy: a right call passes, its result stays on the device, and a spoiled kernel raises."""
    x = rng.standard_normal((2, 3, 6, 5)).astype(np.float32)
    monkeypatch.setattr(backend, "probe_cupy", lambda: backend.Probe(None, "emulated", ""))
    with emulator.installed() as cupy, backend.use_backend("compare"):
        y, taps = kernels.max_pool2d(cupy.asarray(x), 2)
        assert isinstance(y, cupy.ndarray)
        np.testing.assert_array_equal(y.get(), kernels.max_pool2d(x, 2)[0])
        monkeypatch.setattr(cuda, "max_pool", lambda x, geometry: (y, taps + 1))
        with pytest.raises(DivergenceError, match=r"max_pool2d\(x=float32\[2, 3, 6, 5\], geometry=.*output 1 at"):
            kernels.max_pool2d(cupy.asarray(x), 2)
