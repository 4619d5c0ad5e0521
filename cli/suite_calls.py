"""The calls that a benchmark suite's layers, and this project's own networks, make: forward and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from ..backend import use_backend
from ..benchmarks.suites import Notation, measures, select
from ..benchmarks.training import network as benchmark_network
from ..conformance import calls
from ..conformance.call_text import parse
from ..conformance.recording import noting
from ..kernels import OPERATIONS, cross_entropy
from ..kernels.layout import NCHW
from ..kernels.operation import Case, Operation, function_on
from .train.data import TEST_IMAGES, TRAIN_IMAGES

Shaped = tuple[str, Operation, Case]
"""The layer's name, an operation, and the shape."""


def suite(name: str, batch: int, layout: str = NCHW) -> Iterator[Shaped]:
    """Every layer of a suite; batch: of those that fix none. With channels last, what has that layout."""
    for shape in select([name]):
        n = shape.batch or batch
        x_shape, w_shape, options = Notation.parse(shape.text).arguments(shape.family, n, layout)
        if shape.family == "training":
            yield from _network(partial(benchmark_network, x_shape[1:]), x_shape)
        for operation in OPERATIONS.values():
            if measures(shape, operation, layout):
                yield f"{shape.text} @{n}", operation, Case(shape.text, x_shape, w_shape, options)


def own_networks() -> Iterator[Shaped]:
    """The network that `explain` shows, and the one of `backstride train` with all of its batch sizes."""
    from .train.settings import Settings, network

    yield from suite("backprop", batch=1)
    step = Settings().batch_size
    for images in (step, TRAIN_IMAGES % step, TEST_IMAGES):
        yield from _network(partial(network, np.random.default_rng(0)), (images, 1, 8, 8))


def with_gradients(operation: Operation) -> tuple[Operation, ...]:
    """The operation and, where it is a layer's forward operation, its gradients."""
    family = calls.members(operation.family)
    return family if operation is family[0] else (operation,)


def _network(build: Callable[[], Any], x_shape: tuple[int, ...]) -> Iterator[Shaped]:
    """What the layers of a classifier and its loss do with an input of this shape, found by running it on zeros."""
    lines: list[str] = []
    with use_backend("numpy"), noting(lines.append):
        logits = build().forward(np.zeros(x_shape, np.float32))
        cross_entropy(logits, np.zeros(len(logits), np.int64))
    for line in lines:
        call = parse(line)
        assert call is not None, "a call's text is a line"
        shapes = (",".join(map(str, shape)) for shape in (call.case.x, call.case.w) if shape)
        name = " ".join([function_on(call.operation, call.case).name, *shapes])
        for operation in with_gradients(call.operation):
            yield name, operation, call.case
