"""Run as a program: the memory one operation takes over its inputs and outputs, in a fresh process, in bytes.

Fresh, because buffers that a path keeps between calls would escape a measurement that began after them. NumPy reports
its buffers to tracemalloc.
"""

from __future__ import annotations

import sys
import tracemalloc

import numpy as np

from backstride import kernels
from backstride.conformance import calls
from backstride.kernels import OPERATIONS
from backstride.kernels.operation import implementation, numpy_path

X, W, Y = (32, 64, 56, 56), (64, 64, 3, 3), (32, 64, 56, 56)


def a(shape, dtype="float32"):
    return np.full(shape, 0.0625, dtype)  # small enough for float16 sums


def strided(shape):
    return a(shape[::-1]).T


def batch(n):
    return a((n, 16, 28, 28))


CASES = {
    "conv2d resnet": lambda: (kernels.conv2d, (a(X), a(W)), {"padding": 1}),
    "conv2d_input_grad resnet": lambda: (kernels.conv2d_input_grad, (a(Y), a(W), X), {"padding": 1}),
    "conv2d_weight_grad resnet": lambda: (kernels.conv2d_weight_grad, (a(Y), a(X), W), {"padding": 1}),
    "conv2d strided input": lambda: (kernels.conv2d, (strided(X), a(W)), {"padding": 1}),
    "max_pool2d strided input": lambda: (kernels.max_pool2d, (strided(X), 2), {}),
    "conv2d stride 2": lambda: (kernels.conv2d, (a((16, 64, 56, 56)), a((64, 64, 3, 3))), {"stride": 2}),
    "conv2d float16": lambda: (kernels.conv2d, (a(X, "float16"), a(W, "float16")), {"padding": 1}),
    "conv2d 1x1": lambda: (kernels.conv2d, (a(X), a((64, 64, 1, 1))), {}),
    "conv2d stem": lambda: (kernels.conv2d, (a((8, 3, 224, 224)), a((64, 3, 7, 7))), {"stride": 2, "padding": 3}),
    "conv2d depthwise": lambda: (kernels.conv2d, (a(X), a((64, 1, 3, 3))), {"padding": 1, "groups": 64}),
    "conv2d_input_grad depthwise": lambda: (
        kernels.conv2d_input_grad,
        (a(Y), a((64, 1, 3, 3)), X),
        {"padding": 1, "groups": 64},
    ),
    "conv2d_input_grad stride 2": lambda: (
        kernels.conv2d_input_grad,
        (a((16, 64, 28, 28)), a(W), (16, 64, 56, 56)),
        {"stride": 2, "padding": 1},
    ),
    "conv2d_input_grad stem": lambda: (
        kernels.conv2d_input_grad,
        (a((8, 64, 112, 112)), a((64, 3, 7, 7)), (8, 3, 224, 224)),
        {"stride": 2, "padding": 3},
    ),
    "conv2d_weight_grad float16": lambda: (
        kernels.conv2d_weight_grad,
        (a(Y, "float16"), a(X, "float16"), W),
        {"padding": 1},
    ),
    "conv2d_weight_grad stem": lambda: (
        kernels.conv2d_weight_grad,
        (a((8, 64, 112, 112)), a((8, 3, 224, 224)), (64, 3, 7, 7)),
        {"stride": 2, "padding": 3},
    ),
    "conv2d_bias_grad float16": lambda: (kernels.conv2d_bias_grad, (a(Y, "float16"),), {}),
    "conv_transpose2d": lambda: (kernels.conv_transpose2d, (a((16, 64, 56, 56)), a((64, 32, 2, 2))), {"stride": 2}),
    "max_pool2d": lambda: (kernels.max_pool2d, (a(X), 3), {"stride": 2, "padding": 1}),
    "max_pool2d float16": lambda: (kernels.max_pool2d, (a(X, "float16"), 3), {"stride": 2, "padding": 1}),
    "max_pool2d_grad": lambda: (
        kernels.max_pool2d_grad,
        (a((32, 64, 28, 28)), np.zeros((32, 64, 28, 28), np.uint8), X, 2),
        {},
    ),
    "avg_pool2d": lambda: (kernels.avg_pool2d, (a(X), 3), {"stride": 2, "padding": 1}),
    "avg_pool2d_grad NHWC": lambda: (
        kernels.avg_pool2d_grad,
        (a((32, 56, 56, 64)), (32, 56, 56, 64), 3),
        {"stride": 1, "padding": 1, "layout": "NHWC"},
    ),
    "avg_pool2d_grad": lambda: (kernels.avg_pool2d_grad, (a((32, 64, 28, 28)), X, 3), {"stride": 2, "padding": 1}),
    "linear": lambda: (kernels.linear, (a((4096, 1024)), a((1000, 1024)), a((1000,))), {}),
    "linear_weight_grad": lambda: (kernels.linear_weight_grad, (a((4096, 1000)), a((4096, 1024))), {}),
    "linear float16": lambda: (kernels.linear, (a((32768, 1024), "float16"), a((500, 1024), "float16")), {}),
    "linear_input_grad float16": lambda: (
        kernels.linear_input_grad,
        (a((32768, 1024), "float16"), a((1024, 500), "float16")),
        {},
    ),
    "linear_weight_grad float16": lambda: (
        kernels.linear_weight_grad,
        (a((32768, 500), "float16"), a((32768, 1024), "float16")),
        {},
    ),
    "linear_bias_grad float16": lambda: (kernels.linear_bias_grad, (a((65536, 1024), "float16"),), {}),
    "linear float16 in columns": lambda: (
        kernels.linear,
        (a((1024, 32768), "float16"), a((500, 1024), "float16")),
        {"batch_axis": 1},
    ),
    "avg_pool2d float16": lambda: (kernels.avg_pool2d, (a(X, "float16"), 3), {"stride": 2, "padding": 1}),
    "max_pool2d_grad float16, overlapping": lambda: (
        kernels.max_pool2d_grad,
        (a((32, 64, 54, 54), "float16"), np.zeros((32, 64, 54, 54), np.uint8), X, 3),
        {"stride": 1},
    ),
}


BATCHES = {
    f"{name} batch {n}": case
    for n in (32, 256)
    for name, case in {
        "conv2d": lambda n=n: (kernels.conv2d, (batch(n), a((8, 16, 3, 3))), {}),
        "conv2d_weight_grad": lambda n=n: (
            kernels.conv2d_weight_grad,
            (batch(n), batch(n), (16, 16, 3, 3)),
            {"padding": 1},
        ),
        "max_pool2d": lambda n=n: (kernels.max_pool2d, (batch(n), 2), {}),
    }.items()
}


def compile_loops() -> None:
    """Import and compile what a first call would: that is memory of the process, not of a call."""
    for operation in OPERATIONS.values():
        if operation.family.room in ("conv", "pool", "linear"):
            make = calls.numbers(operation, lambda each, shape: np.ones(shape, np.float32))
            implementation(operation, numpy_path())(*calls.call(operation, operation.family.cases[0], make))


def extra_bytes(case: str) -> int:
    """The most that was allocated at any moment, less what was returned."""
    compile_loops()
    operation, arguments, options = (CASES | BATCHES)[case]()
    tracemalloc.start()
    result = operation(*arguments, **options)
    _, peak = tracemalloc.get_traced_memory()
    outputs = sum(array.nbytes for array in (result if isinstance(result, tuple) else (result,)))
    assert peak >= outputs, "tracemalloc did not see the output"
    return peak - outputs


if __name__ == "__main__":
    print(extra_bytes(sys.argv[1]))
