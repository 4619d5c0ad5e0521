"""BACKSTRIDE_BACKEND=compare: every CUDA call is repeated on the NumPy path, and the first divergence raises."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import to_numpy
from .accuracy import Deviation, worst
from .dispatch import cpu


class DivergenceError(ArithmeticError):
    """A CUDA result lies outside the rounding bound around the exact one; the message names a file with the inputs."""


class Comparing:
    """A path that computes on `path` and checks every result against the NumPy path, run on copies in float64.

    Sums of products may differ by the a-priori rounding bound, selections not at all; NaN and infinities must stand at
    the same positions. Every call waits for its result.
    """

    def __init__(self, path: Any) -> None:
        self._path = path

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        compute = getattr(self._path, operation)

        def checked(*arguments: Any) -> Any:
            copies = tuple(np.array(to_numpy(a)) if hasattr(a, "dtype") else a for a in arguments)
            result = compute(*arguments)
            outputs = result if isinstance(result, tuple) else (result,)
            deviation = worst(operation, copies, tuple(map(to_numpy, outputs)))
            if deviation.ratio > 1:
                raise DivergenceError(_message(operation, copies, deviation))
            return result

        return checked


def _message(operation: str, arguments: tuple[Any, ...], deviation: Deviation) -> str:
    names = tuple(inspect.signature(getattr(cpu, operation)).parameters)
    named = dict(zip(names, arguments, strict=True))
    described = ", ".join(f"{name}={_describe(value)}" for name, value in named.items())
    return (
        f"{operation}({described}) diverges from the NumPy path: output {deviation.output} at {deviation.index} is "
        f"{deviation.got}, expected {deviation.expected} within {deviation.allowed:.3g} "
        f"({deviation.ratio:.3g} times the rounding bound); inputs saved in {_save(operation, named)}"
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
    with tempfile.NamedTemporaryFile(prefix=f"backstride-{operation}-", suffix=".npz", delete=False) as file:
        np.savez(file, **stored)
    return file.name
