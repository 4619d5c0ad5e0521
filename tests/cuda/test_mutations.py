"""Faults planted in the project's own kernels and launchers: the emulator must catch every one of them."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import emulator
import numpy as np
import pytest
from mutations import PLANTED
from mutations.planted import NAN, OUTSIDE, Planted, integers, shown

from backstride import kernels
from backstride.kernels.cuda.runtime import loader, replay

FAULTS = {
    f"{name}-{fault}": (planted, *details)
    for name, planted in PLANTED.items()
    for fault, details in planted.faults.items()
}


def forget() -> None:
    loader._kernel.cache_clear()
    loader._module.cache_clear()
    replay.forget()


@pytest.fixture
def cupy() -> Iterator[ModuleType]:
    forget()
    with emulator.installed() as module:
        yield module
    forget()


def mutate(cupy: ModuleType, kernel: str, old: str, new: str) -> None:
    """Replace `old` in the source of this kernel from now on."""
    raw_module = cupy.RawModule

    def mutated(*, code: str, options: tuple[str, ...]) -> Any:
        if f" {kernel}(" in code:
            assert old in code, "the kernels no longer contain what this mutation replaces"
            code = code.replace(old, new)
        return raw_module(code=code, options=options)

    cupy.RawModule = mutated


def assert_shown(found: str, shown_by: str) -> None:
    assert any(each in found for each in shown_by.split("|")), found or "nothing shows this mutation"


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_kernels_as_they_are_have_no_fault(cupy: ModuleType, planted: Planted) -> None:
    with emulator.record_launches() as launches:
        assert planted.evidence(cupy) == ""
    assert planted.kernels <= {launch.name for launch in launches if launch.grid[0] > planted.several_blocks}


@pytest.mark.parametrize(("planted", "kernel", "old", "new", "shown_by"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_caught(cupy: ModuleType, planted: Planted, kernel: str, old: str, new: str, shown_by: str) -> None:
    mutate(cupy, kernel, old, new)
    assert_shown(planted.evidence(cupy), shown_by)


def test_16_bit_elements_read_outside_the_image_are_caught(cupy: ModuleType) -> None:
    """Elements that pass through registers: their addresses may lie anywhere where nothing is read."""
    arrays = integers(2, 9, 11, 13).astype(np.float16), integers(40, 9, 3, 2).astype(np.float16)

    def compute(x: Any, w: Any) -> Any:
        return kernels.conv2d(x, w, padding=1)

    with emulator.record_launches() as launches:
        assert shown(cupy, compute, *arrays) == ""
    assert "conv_forward" in {launch.name for launch in launches}
    mutate(cupy, "conv_forward", "load_if(word.valid, ", "load_if(true, ")
    forget()
    assert_shown(shown(cupy, compute, *arrays), OUTSIDE)


def test_grid_one_block_short_is_caught(cupy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = emulator.module.Kernel.__call__

    def short(self: Any, grid: tuple[int, ...], block: tuple[int, ...], *args: Any, **options: Any) -> None:
        launch(self, (max(1, grid[0] - 1), *grid[1:]), block, *args, **options)

    monkeypatch.setattr(emulator.module.Kernel, "__call__", short)
    assert PLANTED["convolution"].evidence(cupy) == NAN
