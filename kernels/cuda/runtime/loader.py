"""From a .cu file to a kernel: headers and #defines go into the text, one module per (device, variant)."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from ...._notices import logger, tell_of_compiling
from ....backend import import_cupy
from . import cubins
from .nvrtc import options
from .params import Struct

KERNELS = Path(__file__).parents[2]

_INCLUDE = re.compile(r'^#include "(.+)"$', re.MULTILINE)

C_TYPES = {"float16": "float16", "bfloat16": "bfloat16", "float32": "float", "float64": "double"}


def fast_div(divisor: int) -> tuple[int, int, int]:
    """Constants that replace n / divisor by a multiply-high and a shift, for 0 <= n < 2**31.

    Granlund and Montgomery, "Division by invariant integers using multiplication" (1994), section 4.
    """
    shift = (divisor - 1).bit_length()
    multiplier = ((1 << 32) * ((1 << shift) - divisor)) // divisor + 1
    return divisor, multiplier, shift


@cache
def sources() -> dict[str, Path]:
    """Every .cu and .cuh file of this package by its name."""
    return {file.name: file for file in sorted(KERNELS.rglob("*.cu*"))}


@cache
def _text(name: str) -> str:
    """A source with its headers pasted in, each once: CuPy's disk cache keys on the text, not on -I headers."""
    pasted: set[str] = set()

    def paste(file: str) -> str:
        pasted.add(file)
        text = sources()[file].read_text(encoding="utf-8")
        return _INCLUDE.sub(lambda match: "" if match[1] in pasted else paste(match[1]), text)

    return paste(name)


@cache
def params(name: str) -> Struct:
    """The parameter struct of src/`name`, the same in every variant."""
    return Struct.of(_text(name))


def source(name: str, defines: Mapping[str, object]) -> str:
    """The complete CUDA text of one variant: #defines, then src/`name`."""
    return "".join(f"#define {key} {value}\n" for key, value in defines.items()) + _text(name)


@cache
def _module(cupy: ModuleType, device: int, text: str) -> Any:
    return cupy.RawModule(code=text, options=options(text))


@cache
def _kernel(cupy: ModuleType, device: int, name: str, entry: str, defines: tuple[tuple[str, object], ...]) -> Any:
    text = source(name, dict(defines))
    if not getattr(cupy, "compiles", True):  # what stands in for CuPy in a dry run says so
        return _module(cupy, device, text).get_function(entry)
    return _compiled_ahead(cupy, device, text, entry) or _compiled_here(cupy, device, text, entry)


def _compiled_here(cupy: ModuleType, device: int, text: str, entry: str) -> Any:
    begun = time.monotonic()
    function = _module(cupy, device, text).get_function(entry)
    tell_of_compiling(entry, time.monotonic() - begun)
    return function


def _compiled_ahead(cupy: ModuleType, device: int, text: str, entry: str) -> Any:
    """The kernel from a file of cubins.folder(); None where there is none that the driver takes."""
    file = cubins.find(text, int(cupy.cuda.Device(device).compute_capability), cubins.folder())
    if file is None:
        return None
    try:
        function = cupy.RawModule(path=str(file)).get_function(entry)
    except cupy.cuda.driver.CUDADriverError as error:
        logger.warning(
            f"{file}: the driver refuses this kernel ({error}), which is compiled instead; a driver older than the "
            "compiler does so: run `backstride warm` with the CuPy and NVRTC of this machine"
        )
        return None
    logger.debug(f"{entry}: read from {file}")
    return function


def kernel(name: str, entry: str, defines: Mapping[str, object]) -> Any:
    """The entry point `entry` of src/`name` for these #defines, ready for the current device: read from a file
    where `backstride warm` left one, else compiled, which CuPy too keeps on disk."""
    cupy = import_cupy()
    return _kernel(cupy, cupy.cuda.runtime.getDevice(), name, entry, tuple(defines.items()))
