"""Every bad argument: the kind of the exception, and a message that names the operation, the argument, what it was
and what was expected. The same text on every path."""

from __future__ import annotations

from typing import Any

import conftest
import numpy as np
import pytest
from accuracy import dtype_of
from small_cases import SMALL

from backstride import kernels
from backstride.conformance import calls
from backstride.kernels import FUNCTIONS
from backstride.kernels.operation import Input
from backstride.kernels.operation import dtype_of as dtype_in_call


def zeros(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)


def _zeros(each: Input, geometry: Any) -> np.ndarray:
    return zeros(*each.shape(geometry), dtype=dtype_in_call(each, geometry, np.dtype(np.float32)))


X, W, DY = zeros(2, 4, 8, 9), zeros(6, 4, 3, 3), zeros(2, 6, 6, 7)
POOL_DY, TAPS = zeros(2, 4, 4, 4), zeros(2, 4, 4, 4, dtype=np.uint8)
ROWS, COLUMNS, LINEAR_W = zeros(5, 7), zeros(7, 5), zeros(3, 7)

# operation, good positional arguments; every entry below spoils one argument of one of these
CALLS: dict[str, tuple[Any, ...]] = {
    "conv2d": (X, W),
    "conv2d_input_grad": (DY, W, X.shape),
    "conv2d_weight_grad": (DY, X, W.shape),
    "conv2d_bias_grad": (DY,),
    "conv2d_parameter_grads": (DY, X, W.shape),
    "conv2d_grads": (DY, X, W),
    "conv_transpose2d": (DY, W),
    "max_pool2d": (X, 2),
    "max_pool2d_grad": (POOL_DY, TAPS, X.shape, 2),
    "max_pool2d_indices": (TAPS, X.shape, 2),
    "avg_pool2d": (X, 2),
    "avg_pool2d_grad": (POOL_DY, X.shape, 2),
    "linear": (ROWS, LINEAR_W),
    "linear_input_grad": (zeros(5, 3), LINEAR_W),
    "linear_weight_grad": (zeros(5, 3), ROWS),
    "linear_bias_grad": (zeros(5, 3),),
    "linear_parameter_grads": (zeros(5, 3), ROWS),
    "linear_grads": (zeros(5, 3), ROWS, LINEAR_W),
}
TWO_AXES = {name: operation for name, (operation, rank) in FUNCTIONS.items() if rank in (0, 2)}
"""Functions of two axes, and those whose names say nothing of axes; of others, test_ranks."""

for name in [name for name in TWO_AXES if name not in CALLS]:
    operation, case = SMALL[name]
    CALLS[name] = calls.public_call(operation, case, calls.call(operation, case, _zeros)).args


def named(family: str) -> tuple[str, ...]:
    return tuple(name for name, operation in TWO_AXES.items() if operation.family.name == family)


CONVOLUTIONS = tuple(name for name in named("conv") if name != "conv2d_bias_grad")  # which has no option
DILATED_POOLS, AVERAGES, LINEARS = named("max_pool"), named("avg_pool"), named("linear")
POOLS = DILATED_POOLS + AVERAGES

FORMS = "an int, an (h, w) pair"


def spoiled_options():
    """(operation, keyword, value, argument as named, value as printed, expectation)."""
    for operation in (*CONVOLUTIONS, "conv_transpose2d", *POOLS):
        yield operation, "stride", 0, "stride", "0", "an int >= 1"
        yield operation, "stride", (2, -1), "stride[1]", "-1", "an int >= 1"
        yield operation, "stride", 1.5, "stride", "1.5", "an int >= 1"
        yield operation, "stride", True, "stride", "True", "an int >= 1"
        yield operation, "stride", (1, 2, 3), "stride", "(1, 2, 3)", "an int or an (h, w) pair"
        yield operation, "stride", "2", "stride", "'2'", "an int >= 1"
        yield operation, "padding", -1, "padding", "-1", "an int >= 0"
        yield operation, "padding", (0, -2), "padding[1]", "-2", "an int >= 0"
        yield operation, "padding", ((0, 1), (-3, 0)), "padding[1][0]", "-3", "an int >= 0"
        yield operation, "padding", (1, 1, 1, 1), "padding", "(1, 1, 1, 1)", FORMS
        yield operation, "padding", (1, (1, 1)), "padding", "(1, (1, 1))", FORMS
        yield operation, "padding", ((1, 1), (1, 1, 1)), "padding[1]", "(1, 1, 1)", "(h, w) pair"
        yield operation, "padding", "full", "padding", "'full'", FORMS
        yield operation, "padding", 0.5, "padding", "0.5", "an int >= 0"
        yield operation, "padding", None, "padding", "None", "an int >= 0"
    for operation in (*CONVOLUTIONS, "conv_transpose2d", *DILATED_POOLS):
        yield operation, "dilation", 0, "dilation", "0", "an int >= 1"
        yield operation, "dilation", (-1, 1), "dilation[0]", "-1", "an int >= 1"
    for operation in CONVOLUTIONS:
        yield operation, "groups", 0, "groups", "0", "an int >= 1"
        yield operation, "groups", -2, "groups", "-2", "an int >= 1"
        yield operation, "groups", (2, 2), "groups", "(2, 2)", "an int >= 1"
        yield operation, "groups", 3, "groups", "3", "a divisor of C = 4 and K = 6"
        yield operation, "dilation", 5, "the window's height (dilation*(kernel_size-1)+1)", "11", "input's 8"
        yield operation, "dilation", (1, 6), "the window's width (dilation*(kernel_size-1)+1)", "13", "input's 9"
    yield "conv_transpose2d", "groups", 0, "groups", "0", "an int >= 1"
    yield "conv_transpose2d", "groups", 4, "groups", "4", "a divisor of"
    yield "conv_transpose2d", "padding", "same", "padding", "'same'", FORMS
    yield "conv_transpose2d", "padding", 5, "padding", "5", "an output of at least 1x1"
    yield "conv_transpose2d", "output_padding", -1, "output_padding", "-1", "an int >= 0"
    yield "conv_transpose2d", "output_padding", 1, "output_padding", "(1, 1)", "less than stride (1, 1) or dilation"
    for operation in POOLS:
        yield operation, "padding", 2, "padding", "((2, 2), (2, 2))", "at most dilation*(kernel_size-1) = 1 on each"
        yield operation, "padding", ((0, 0), (0, 2)), "padding", "((0, 0), (0, 2))", "= 1 on each side of axis 1"
    for operation in DILATED_POOLS:
        yield operation, "dilation", 9, "the window's height (dilation*(kernel_size-1)+1)", "10", "input's 8"
    for operation in AVERAGES:
        yield operation, "divisor_override", 0, "divisor_override", "0", "None or an int other than 0"
        yield operation, "divisor_override", 2.0, "divisor_override", "2.0", "None or an int other than 0"
    for operation in ("conv2d", "linear"):
        yield operation, "activation", "tanh", "activation", "'tanh'", "None or 'relu'"
        yield operation, "activation", True, "activation", "True", "None or 'relu'"
    for operation in LINEARS:
        yield operation, "batch_axis", 2, "batch_axis", "2", "0 (samples are rows) or 1 (columns)"
        yield operation, "batch_axis", "0", "batch_axis", "'0'", "0 (samples are rows) or 1 (columns)"
        yield operation, "batch_axis", None, "batch_axis", "None", "0 (samples are rows) or 1 (columns)"


def spoiled_arguments():
    """(operation, position, value, argument as named, value as printed, expectation) with a ValueError."""
    four = "four axes (N, C, H, W)"
    yield "conv2d", 0, zeros(4, 8, 9), "x.shape", "(4, 8, 9)", four
    yield "conv2d", 1, zeros(6, 4, 3), "w.shape", "(6, 4, 3)", "four axes (K, C/groups, R, S)"
    yield "conv2d", 1, zeros(6, 3, 3, 3), "w.shape", "(6, 3, 3, 3)", "C/groups = 4/1 = 4"
    yield "conv2d", 1, zeros(0, 4, 3, 3), "w.shape", "K=0", "at least 1"
    yield "conv2d", 1, zeros(6, 4, 0, 3), "w.shape", "K=6, R=0", "at least 1"
    yield "conv2d", 1, zeros(6, 4, 9, 3), "the window's height", "9", "at most the padded input's 8"
    yield "conv2d", 0, zeros(2, 4, 0, 9), "x.shape extent H", "0", "at least 1"
    yield "conv2d", 0, zeros(2, 4, 8, 0), "x.shape extent W", "0", "at least 1"
    for bad in (zeros(5), zeros(1), zeros(), zeros(6, 1), zeros(1, 6, 1, 1)):
        yield "conv2d", 2, bad, "b.shape", str(bad.shape), "(6,) or (6, 1, 1)"
        yield "conv_transpose2d", 2, bad, "b.shape", str(bad.shape), "(4,) or (4, 1, 1)"

    yield "conv2d_input_grad", 0, zeros(2, 6, 6, 6), "dy.shape", "(2, 6, 6, 6)", "(2, 6, 6, 7), that is (N, K, P, Q)"
    yield "conv2d_input_grad", 0, zeros(6, 6, 7), "dy.shape", "(6, 6, 7)", "(2, 6, 6, 7)"
    yield "conv2d_grads", 0, zeros(2, 6, 6, 6), "dy.shape", "(2, 6, 6, 6)", "(2, 6, 6, 7), that is (N, K, P, Q)"
    yield "conv2d_grads", 2, zeros(6, 3, 3, 3), "w.shape", "(6, 3, 3, 3)", "C/groups = 4/1 = 4"
    yield "conv2d_input_grad", 1, zeros(6, 3, 3, 3), "w.shape", "(6, 3, 3, 3)", "C/groups = 4/1 = 4"
    yield "conv2d_input_grad", 2, (2, 4, 8), "x_shape", "(2, 4, 8)", four
    yield "conv2d_input_grad", 2, (2, 4, 8, -9), "x_shape[3]", "-9", "an int >= 0"
    yield "conv2d_input_grad", 2, (2, 4, 8, 9.0), "x_shape[3]", "9.0", "an int >= 0"
    yield "conv2d_input_grad", 2, 8, "x_shape", "8", four
    yield "conv2d_weight_grad", 0, zeros(1, 6, 6, 7), "dy.shape", "(1, 6, 6, 7)", "(2, 6, 6, 7), that is (N, K, P, Q)"
    yield "conv2d_weight_grad", 1, zeros(4, 8, 9), "x.shape", "(4, 8, 9)", four
    yield "conv2d_weight_grad", 2, (6, 3, 3, 3), "w_shape", "(6, 3, 3, 3)", "C/groups = 4/1 = 4"
    yield "conv2d_weight_grad", 2, (6, 4, 3), "w_shape", "(6, 4, 3)", "four axes (K, C/groups, R, S)"
    yield "conv2d_bias_grad", 0, zeros(6, 6, 7), "dy.shape", "(6, 6, 7)", "four axes (N, K, P, Q)"
    yield "conv_transpose2d", 0, zeros(2, 6, 6), "x.shape", "(2, 6, 6)", four
    yield "conv_transpose2d", 0, zeros(2, 6, 0, 7), "x.shape extent H", "0", "at least 1"
    yield "conv_transpose2d", 1, zeros(5, 4, 3, 3), "w.shape", "(5, 4, 3, 3)", "axis 0 to be C = 6"
    yield "conv_transpose2d", 1, zeros(6, 4, 3), "w.shape", "(6, 4, 3)", "four axes (C, K/groups, R, S)"
    yield "conv_transpose2d", 1, zeros(6, 4, 3, 0), "w.shape", "S=0", "at least 1"

    for operation, position in (
        ("max_pool2d", 1),
        ("max_pool2d_grad", 3),
        ("max_pool2d_indices", 2),
        ("avg_pool2d", 1),
        ("avg_pool2d_grad", 2),
    ):
        yield operation, position, 0, "kernel_size", "0", "an int >= 1"
        yield operation, position, (2, 0), "kernel_size[1]", "0", "an int >= 1"
        yield operation, position, (2, 2, 2), "kernel_size", "(2, 2, 2)", "an int or an (h, w) pair"
        yield operation, position, None, "kernel_size", "None", "an int >= 1"
        yield operation, position, 10, "the window's height", "10", "at most the padded input's 8"
    for operation, position in (("max_pool2d_grad", 2), ("max_pool2d_indices", 1), ("avg_pool2d_grad", 1)):
        yield operation, position, (4, 8, 9), "x_shape", "(4, 8, 9)", four
        yield operation, position, (2, 4, 0, 9), "x_shape extent H", "0", "at least 1"
    for operation in ("max_pool2d", "avg_pool2d"):
        yield operation, 0, zeros(4, 8, 9), "x.shape", "(4, 8, 9)", four
        yield operation, 0, zeros(2, 4, 8, 0), "x.shape extent W", "0", "at least 1"
    for operation in ("max_pool2d_grad", "avg_pool2d_grad"):
        yield operation, 0, zeros(2, 4, 4, 5), "dy.shape", "(2, 4, 4, 5)", "(2, 4, 4, 4), that is (N, C, P, Q)"
    for operation, position in (("max_pool2d_grad", 1), ("max_pool2d_indices", 0)):
        bad = zeros(2, 4, 5, 4, dtype=np.uint8)
        yield operation, position, bad, "taps.shape", "(2, 4, 5, 4)", "(2, 4, 4, 4), that is (N, C, P, Q)"

    yield "linear", 0, zeros(5, 6), "x.shape", "(5, 6)", "F = 7, from w.shape (3, 7)"
    yield "linear", 0, zeros(7), "x.shape", "(7,)", "two axes (N, F)"
    yield "linear", 1, zeros(3, 7, 1), "w.shape", "(3, 7, 1)", "two axes (O, F)"
    for bad in (zeros(4), zeros(), zeros(1, 3), zeros(3, 1)):
        yield "linear", 2, bad, "b.shape", str(bad.shape), "(3,)"
    yield "linear_input_grad", 0, zeros(5, 4), "dy.shape", "(5, 4)", "O = 3, from w.shape (3, 7)"
    yield "linear_weight_grad", 1, zeros(6, 7), "x.shape", "(6, 7)", "5"
    yield "linear_weight_grad", 1, zeros(5), "x.shape", "(5,)", "two axes (N, F)"
    yield "linear_bias_grad", 0, zeros(5), "dy.shape", "(5,)", "two axes (N, O)"
    yield "linear_grads", 0, zeros(5, 4), "dy.shape", "(5, 4)", "(5, 3), that is (N, O)"
    yield "linear_grads", 1, zeros(5, 6), "x.shape", "(5, 6)", "F = 7, from w.shape (3, 7)"


def array_arguments():
    """(operation, position, name) of every float array argument that is given by its position."""
    for function, operation in TWO_AXES.items():
        for position, each in enumerate(operation.inputs):
            if each.dtype is None and each.name != "b" and position < len(CALLS[function]):
                yield function, position, each.name


def replaced(arguments: tuple[Any, ...], position: int, value: Any) -> tuple[Any, ...]:
    return (*arguments[:position], value, *arguments[position + 1 :])


def check(path, kind, operation, arguments, options, argument, printed, expectation):
    with pytest.raises(kind) as caught:
        path.run(getattr(kernels, operation), *arguments, **options)
    assert type(caught.value) is kind
    message = str(caught.value)
    assert message.startswith(f"{operation}: {argument}"), message
    told, _, expected = message.partition("; expected ")
    assert printed in told.removeprefix(f"{operation}: {argument}"), message
    assert expectation in expected, message


def label(value: Any) -> str | None:
    return f"array{value.shape}" if isinstance(value, np.ndarray) else str(value)


@pytest.fixture(params=["numpy", "emulated", "cuda"])
def path(request):
    """Errors are raised before loops are chosen: plain or compiled, it is one path here."""
    with conftest.PATHS[request.param]() as found:
        yield found


def test_the_calls_are_good(path):
    for operation, arguments in CALLS.items():
        path.run(getattr(kernels, operation), *arguments)


@pytest.mark.parametrize(
    ("operation", "keyword", "value", "argument", "printed", "expectation"), list(spoiled_options()), ids=label
)
def test_option(path, operation, keyword, value, argument, printed, expectation):
    check(path, ValueError, operation, CALLS[operation], {keyword: value}, argument, printed, expectation)


@pytest.mark.parametrize(
    ("operation", "position", "value", "argument", "printed", "expectation"), list(spoiled_arguments()), ids=label
)
def test_argument(path, operation, position, value, argument, printed, expectation):
    arguments = replaced(CALLS[operation], position, value)
    check(path, ValueError, operation, arguments, {}, argument, printed, expectation)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "complex64", "longdouble"])
@pytest.mark.parametrize(("operation", "position", "name"), list(array_arguments()))
def test_dtype(path, operation, position, name, dtype):
    if dtype == "longdouble" and path.name not in ("numpy", "jit"):
        pytest.skip("CuPy has no such arrays")
    dtype = np.dtype(dtype)
    arguments = replaced(CALLS[operation], position, CALLS[operation][position].astype(dtype))
    expected = "float16 or bfloat16 or float32 or float64"
    check(path, TypeError, operation, arguments, {}, f"{name}.dtype", dtype.name, expected)


@pytest.mark.parametrize("other", ["float64", "float16", "bfloat16"])
@pytest.mark.parametrize(
    ("operation", "first", "second"),
    [
        (name, operation.inputs[0].name, operation.inputs[1].name)
        for name, operation in TWO_AXES.items()
        if len(operation.inputs) > 1 and operation.inputs[1].dtype is None
    ],
)
def test_mixed_dtypes_are_both_named(path, operation, first, second, other):
    arguments = replaced(CALLS[operation], 1, CALLS[operation][1].astype(dtype_of(other)))
    check(path, TypeError, operation, arguments, {}, f"{second}.dtype", other, f"float32 as {first}")


@pytest.mark.parametrize(("operation", "bias"), [("conv2d", 6), ("conv_transpose2d", 4), ("linear", 3)])
def test_bias_of_another_dtype(path, operation, bias):
    arguments = (*CALLS[operation], np.zeros(bias))
    check(path, TypeError, operation, arguments, {}, "b.dtype", "float64", "float32 as x")


@pytest.mark.parametrize("kind", [list, float, None], ids=["list", "scalar", "None"])
@pytest.mark.parametrize(("operation", "position", "name"), list(array_arguments()))
def test_not_an_array(path, operation, position, name, kind):
    good = CALLS[operation][position]
    if kind is None:
        value, printed = None, "NoneType"
    else:
        value, printed = (good.tolist(), "list") if kind is list else (1.0, "float")
    arguments = replaced(CALLS[operation], position, value)
    check(path, TypeError, operation, arguments, {}, name, printed, "a numpy.ndarray or cupy.ndarray")


@pytest.mark.parametrize(("operation", "position"), [("max_pool2d_grad", 1), ("max_pool2d_indices", 0)])
@pytest.mark.parametrize("dtype", ["int64", "uint16", "float32"])
def test_taps_of_another_dtype(path, operation, position, dtype):
    arguments = replaced(CALLS[operation], position, TAPS.astype(dtype))
    check(path, TypeError, operation, arguments, {}, "taps.dtype", dtype, "uint8")


def test_foreign_byte_order():
    """CuPy has no such arrays; NumPy does, and BLAS cannot take them."""
    swapped = X.astype(X.dtype.newbyteorder())
    with pytest.raises(TypeError, match=r"conv2d: x\.dtype is .f4; expected "):
        kernels.conv2d(swapped, W)


@pytest.mark.parametrize(
    ("bad", "argument", "expectation"),
    [
        ((zeros(6, 5), LINEAR_W, None), "x.shape", "F = 7, from w.shape (3, 7)"),
        ((COLUMNS, LINEAR_W, zeros(3, 2)), "b.shape", "(3, 1)"),
        ((COLUMNS, LINEAR_W, zeros(1, 3)), "b.shape", "(3, 1)"),
    ],
)
def test_linear_with_columns(path, bad, argument, expectation):
    check(path, ValueError, "linear", bad, {"batch_axis": 1}, argument, "(", expectation)


def test_errors_come_before_any_work():
    """A petabyte of input costs nothing to refuse."""
    x = np.broadcast_to(np.float32(0), (2**20, 4, 2**14, 2**14))
    with pytest.raises(ValueError, match=r"w\.shape"):
        kernels.conv2d(x, zeros(6, 3, 3, 3))
    with pytest.raises(ValueError, match=r"b\.shape"):
        kernels.conv2d(x, W, zeros(5))
    with pytest.raises(ValueError, match="padding"):
        kernels.max_pool2d(x, 2, padding=2)
    with pytest.raises(ValueError, match="divisor_override"):
        kernels.avg_pool2d(x, 2, divisor_override=0)


def test_options_are_keywords():
    with pytest.raises(TypeError, match="positional"):
        kernels.conv2d(X, W, None, 1)
    with pytest.raises(TypeError, match="positional"):
        kernels.max_pool2d(X, 2, 2)
