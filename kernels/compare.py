"""BACKSTRIDE_BACKEND=compare: every CUDA call is repeated on the NumPy path, and the first divergence raises."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np

from .._files import replacing
from ..backend import to_numpy
from . import OPERATIONS
from .accuracy import Deviation, worst
from .operation import Compute, Operation, as_tuple, function_of


class DivergenceError(ArithmeticError):
    """A CUDA result lies outside the rounding bound around the exact one; the message names a file with the inputs."""


def compared(operation: str, compute: Compute, arguments: tuple[Any, ...]) -> Any:
    """The result of a call, after it was checked against the judging path, run on copies in float64.

    Sums of products may differ by the a-priori rounding bound, selections not at all; NaN and infinities must stand at
    the same positions. It waits for the result.
    """
    record = OPERATIONS[operation]
    copies = tuple(np.array(to_numpy(a)) if hasattr(a, "dtype") else a for a in arguments)
    result = compute(*arguments)
    deviation = worst(record, copies, tuple(map(to_numpy, as_tuple(result))))
    if deviation.ratio > 1:
        raise DivergenceError(_message(record, copies, deviation))
    return result


def _message(operation: Operation, arguments: tuple[Any, ...], deviation: Deviation) -> str:
    names = (*(each.name for each in operation.inputs), "geometry")
    named = dict(zip(names, arguments, strict=True))
    function = function_of(operation, arguments[-1]).name
    described = ", ".join(f"{name}={_describe(value)}" for name, value in named.items())
    return (
        f"{function}({described}) diverges from the NumPy path: output {deviation.output} at {deviation.index} "
        f"is {deviation.got}, expected {deviation.expected} within {deviation.allowed:.3g} "
        f"({deviation.ratio:.3g} times the rounding bound); inputs saved in {_save(function, named)}"
    )


def _describe(value: Any) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)


def _save(operation: str, named: dict[str, Any]) -> str:
    """Write the arguments to a new .npz: arrays as they are (bfloat16 widened to float32), the others as their repr."""
    stored: dict[str, Any] = {"operation": np.array(operation)}
    for name, value in named.items():
        if not isinstance(value, np.ndarray):
            stored[name] = np.array(repr(value))
        else:
            stored[name] = value.astype(np.float32) if value.dtype.name == "bfloat16" else value
    try:
        descriptor, name = tempfile.mkstemp(prefix=f"backstride-{operation}-", suffix=".npz")
        os.close(descriptor)
        try:
            with replacing(name) as file:
                np.savez(file, **stored)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:  # the divergence is what must be told
        return f"no file ({error})"
    return name
