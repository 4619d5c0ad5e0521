"""Faults planted in the project's own kernels and launchers: the emulator must catch every one of them."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import emulator
import numpy as np
import pytest

from backstride import kernels
from backstride.kernels.cuda import loader, repeat

WRONG = "a wrong result"
NAN = "NaN where nothing was written"
RACE = "race on shared memory"

# What is replaced, by what, and what shows it: a fault's message or what the result is like.
MUTATIONS = {
    "missing barrier in the main loop": ("__syncthreads();  // this tile has arrived", ";//", RACE),
    "missing barrier before the tile is stored": ("cp_async_wait<0>();\n    __syncthreads();", "", RACE),
    "missing __syncwarp": ("__syncwarp();\n#pragma unroll 4", "\n#pragma unroll 4", RACE),
    "wait for one group too few": ("cp_async_wait<STAGES - 2>();", "cp_async_wait<STAGES - 1>();", RACE),
    "no wait": ("cp_async_wait<STAGES - 2>();", "", RACE),
    "missing bound of the image's columns": (
        " && (unsigned)(pixel.column + tap.column) < (unsigned)W;",
        ";",
        f"out-of-bounds read|{WRONG}",
    ),
    "missing bound of the image's rows": ("(unsigned)(pixel.row + tap.row) < (unsigned)H && ", "", "out-of-bounds"),
    "missing bound of the output's columns": ("row < 0 || n >= columns", "row < 0", "out-of-bounds write"),
    "missing bound of the output's rows": ("m < rows ? place(m) : -1", "place(m)", "out-of-bounds write"),
    "wrong stride in shared memory": ("row * LD + k : k * LD + row", "row * 8 + k : k * 8 + row", RACE),
    "tiles that overlap in shared memory": ("stage(tile) + SIZE_A)", "stage(tile) + SIZE_A / 2)", RACE),
    "stage past the end of shared memory": ("(tile - first) % STAGES", "(tile - first)", "not all in shared memory"),
    "one tile of the output is never written": (
        "    cp_async_wait<0>();\n    __syncthreads();",
        "    if (blockIdx.x == 1) return;\n    cp_async_wait<0>();\n    __syncthreads();",
        NAN,
    ),
}


@pytest.fixture
def cupy() -> Iterator[ModuleType]:
    def forget() -> None:
        loader._kernel.cache_clear()
        loader._module.cache_clear()
        repeat.forget()

    forget()
    with emulator.installed() as module:
        yield module
    forget()


def evidence(cupy: ModuleType) -> str:
    """What a convolution with several tiles along every axis shows of its kernel: a fault's message, or its result."""
    rng = np.random.default_rng(0)
    # integers: every sum is exact, so any difference is an error
    x, w = (rng.integers(-4, 5, shape).astype("f4") for shape in ((2, 9, 11, 13), (40, 9, 3, 2)))
    expected = kernels.conv2d(x, w, padding=1)
    try:
        got = kernels.conv2d(cupy.asarray(x), cupy.asarray(w), padding=1).get()
    except emulator.EmulatorFault as fault:
        return str(fault)
    if np.isnan(got).any():
        return NAN
    return "" if np.array_equal(got, expected) else WRONG


def test_kernel_as_it_is_has_no_fault(cupy: ModuleType) -> None:
    with emulator.record_launches() as launches:
        assert evidence(cupy) == ""
    assert [launch.grid[0] > 1 for launch in launches if launch.name == "conv2d_forward"] == [True]


@pytest.mark.parametrize(("old", "new", "shown_by"), MUTATIONS.values(), ids=MUTATIONS)
def test_mutation_is_caught(cupy: ModuleType, old: str, new: str, shown_by: str) -> None:
    raw_module = cupy.RawModule

    def mutated(*, code: str, options: tuple[str, ...]) -> Any:
        if "conv2d_forward" in code:
            assert old in code, "the kernels no longer contain what this mutation replaces"
        return raw_module(code=code.replace(old, new), options=options)

    cupy.RawModule = mutated
    shown = evidence(cupy)
    assert any(each in shown for each in shown_by.split("|")), shown or "nothing shows this mutation"


def test_grid_one_block_short_is_caught(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = emulator.module.Kernel.__call__

    def short(self: Any, grid: tuple[int, ...], block: tuple[int, ...], *args: Any, **options: Any) -> None:
        launch(self, (max(1, grid[0] - 1), *grid[1:]), block, *args, **options)

    monkeypatch.setattr(emulator.module.Kernel, "__call__", short)
    assert evidence(cupy) == NAN
