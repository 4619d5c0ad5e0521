"""CUDA graphs: a whole training step replayed by one launch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from .backend import BackendUnavailableError, get_backend, import_cupy, is_cupy
from .kernels.checks import type_error, value_error

_OPERATION = "captured step"
_Kind = tuple[tuple[int, ...], Any, int]  # of an input: shape, dtype and device


class CapturedStep:
    """What `capture` returns: called like the step itself."""

    def __init__(self, step: Callable[..., Any]) -> None:
        self._step = step
        self._expected: list[_Kind] | None = None
        self._graph: Any = None
        self._end: Any = None  # the event of the last call's end, which the next waits for on its stream

    def __call__(self, *inputs: Any) -> Any:
        self._check(inputs)
        with inputs[0].device if inputs else contextlib.nullcontext():
            cuda = import_cupy().cuda
            stream = cuda.get_current_stream()
            if self._end is None:
                self._end = cuda.Event(disable_timing=True)
            else:
                stream.wait_event(self._end)
            try:
                return self._run(inputs)
            finally:
                self._end.record(stream)

    def _run(self, inputs: tuple[Any, ...]) -> Any:
        if self._expected is None:
            result = self._step(*inputs)
            self._expected = list(map(_kind, inputs))
            return result
        if self._graph is None:
            self._capture(inputs)
        for own, given in zip(self._inputs, inputs, strict=True):
            own[...] = given
        self._graph.launch()
        return self._outputs

    def _check(self, inputs: tuple[Any, ...]) -> None:
        _check_backend()
        for place, given in enumerate(inputs):
            if not is_cupy(given):
                got = f"a {type(given).__qualname__}"
                raise type_error(_OPERATION, f"input {place}", got, "a cupy.ndarray: move it with backstride.asarray")
        if self._expected is None:
            return
        if len(inputs) != len(self._expected):
            raise value_error(_OPERATION, "the number of inputs", len(inputs), f"{len(self._expected)}, as at first")
        for place, (given, expected) in enumerate(zip(map(_kind, inputs), self._expected, strict=True)):
            if given != expected:
                way_out = "as at first: call the step itself with a batch of another size, or drop it"
                raise value_error(_OPERATION, f"input {place}", _said(given), f"{_said(expected)}, {way_out}")

    def _capture(self, inputs: tuple[Any, ...]) -> None:
        """Record the step into a graph that works on memory of its own."""
        cupy = import_cupy()
        cupy.get_default_memory_pool().free_all_blocks()  # the graph needs as much once more
        self._pool = cupy.cuda.MemoryPool()
        stream = cupy.cuda.Stream(non_blocking=True)
        with cupy.cuda.using_allocator(self._pool.malloc), stream:
            self._inputs = [cupy.empty(given.shape, given.dtype) for given in inputs]
            stream.begin_capture()
            try:
                self._outputs = self._step(*self._inputs)
            except BaseException as error:
                with contextlib.suppress(RuntimeError):  # what broke the capture has been raised already
                    stream.end_capture()
                if isinstance(error, RuntimeError) and "captur" in str(error).lower():
                    raise RuntimeError(
                        f"{_OPERATION}: it cannot be captured ({error}); expected a step that never waits for the "
                        "device nor copies from or to the host: no get(), float(), if or print on arrays in it"
                    ) from error
                raise
            self._graph = stream.end_capture()


def capture(step: Callable[..., Any]) -> CapturedStep:
    """`step` as a CUDA graph: forward, loss, backward and update launched by one call, without the host's work.

    step: a function of CuPy arrays that returns arrays, or any structure of them. It may change other arrays in place,
    as parameters, gradients and optimizers are changed. Every call of the result is one step, and only that:

    1. The first call runs `step` as it is, which compiles its kernels.
    2. The second captures it (`step` runs once more, but its kernels are only recorded) and then replays it.
    3. All others copy the inputs into the graph's own arrays and replay: on the current stream, with no allocation and
       no wait for the device. A call on another stream than the last one's is queued behind that.

    From the second call on the returned arrays are the graph's own: the next call overwrites them, so copy what is to
    be kept. Replays do what was recorded: Python code in the step does not run again, and what it read then (options,
    training or eval mode, precision, an optimizer's betas) is frozen. An optimizer's `lr` may be set between the calls,
    its steps are counted, and load_state_dict works; after `Layer.to`, or anything that gives a parameter another
    array, capture anew. The step itself may be called between replays, for a last batch of another size.

    Cannot be captured: the backends 'numpy' and 'compare' (BackendUnavailableError); inputs that are not CuPy arrays
    (TypeError), or whose number, shapes, dtypes or device are not the first call's (ValueError); a step that waits for
    the device or copies from or to the host, as get(), float(), print and setting lr do (RuntimeError).
    """
    _check_backend()
    return CapturedStep(step)


def _check_backend() -> None:
    if get_backend() != "cupy":
        raise BackendUnavailableError(
            f"{_OPERATION}: the backend is {get_backend()!r}; expected 'cupy', whose CUDA graphs replay the step "
            "(elsewhere call the step itself)"
        )


def _kind(array: Any) -> _Kind:
    return array.shape, array.dtype, array.device.id


def _said(kind: _Kind) -> str:
    shape, dtype, device = kind
    return f"{dtype} {shape} on device {device}"
