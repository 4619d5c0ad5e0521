"""Kernels compiled ahead of time: what `backstride warm` leaves is what the loader asks for, and only whole files count.

No GPU is needed: the loader meets a CuPy that only tells what it was asked to load or to compile.
"""

from __future__ import annotations

import multiprocessing
from types import SimpleNamespace

import numpy as np
import pytest

from backstride import backend, calls
from backstride.kernels import cuda
from backstride.kernels.cuda import ahead, cubins, nvrtc
from backstride.kernels.cuda.dryrun import Device, DryCupy
from backstride.shapes import Case

H100 = Device(90, 132)
CASE = Case("", (2, 8, 9, 9), (8, 8, 3, 3), {"padding": 1, "stride": 2})


class NoImage(Exception):
    """What the driver raises for a file that it cannot use."""


class TellingCupy(DryCupy):
    """A CuPy without a GPU whose modules say where they come from: a file, or the compiler."""

    def __init__(self, device=H100, loads=True):
        super().__init__(device)
        self.read, self.compiled, self.loads = [], [], loads
        self.cuda.driver = SimpleNamespace(CUDADriverError=NoImage)

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other

    def RawModule(self, *, code=None, path=None, options=()):
        if path is None:
            self.compiled.append(code)
            return super().RawModule(code=code, options=options)
        if not self.loads:
            raise NoImage(path)
        self.read.append(path)
        return super().RawModule(code="", options=options)


def run(cupy, dtype=np.float32):
    """A convolution and its gradients on this CuPy."""
    with backend.stand_in_for_cupy(cupy):
        for operation, arguments in calls.conv(CASE, calls.bare(np.dtype(dtype))):
            arrays = (cupy.empty(a.shape, a.dtype) if hasattr(a, "dtype") else a for a in arguments)
            getattr(cuda, operation)(*arrays)
    return cupy


def texts(device=H100):
    """The CUDA texts of the same calls, by a dry run."""
    return {
        launch.text
        for call in calls.conv(CASE, calls.bare(np.dtype(np.float32)))
        for launch in ahead.launches(call, device)
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(cubins.VARIABLE, str(tmp_path))
    return tmp_path


def test_what_was_compiled_ahead_is_read_and_not_compiled(folder):
    for text in texts():
        cubins.save(text, 90, text.encode(), folder)
    cupy = run(TellingCupy())
    assert cupy.compiled == []
    assert sorted(cupy.read) == sorted(str(file) for file in folder.iterdir())


def test_what_was_not_is_compiled(folder):
    wanted = texts()
    missing = wanted.pop()
    for text in wanted:
        cubins.save(text, 90, text.encode(), folder)
    cupy = run(TellingCupy())
    assert cupy.compiled == [missing]
    assert len(cupy.read) == len(wanted)


@pytest.mark.parametrize(("device", "dtype"), [(Device(80, 132), np.float32), (H100, np.float64)])
def test_another_architecture_or_dtype_is_not_met(folder, device, dtype):
    for text in texts():
        cubins.save(text, 90, text.encode(), folder)
    cupy = run(TellingCupy(device), dtype)
    assert not cupy.read or dtype is np.float64  # kernels of no dtype may be shared
    assert cupy.compiled


def test_a_file_that_the_driver_cannot_use_is_compiled(folder):
    for text in texts():
        cubins.save(text, 90, text.encode(), folder)
    assert set(run(TellingCupy(loads=False)).compiled) == texts()


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:10] + b"?" + b[11:]])
def test_a_damaged_file_is_passed_over_and_written_again(folder, damage):
    file = cubins.save("text", 90, b"a cubin of some length", folder)
    assert cubins.find("text", 90, folder) == file
    file.write_bytes(damage(file.read_bytes()))
    assert cubins.find("text", 90, folder) is None
    assert cubins.save("text", 90, b"a cubin of some length", folder) == cubins.find("text", 90, folder)


def test_without_a_folder_there_is_nothing(tmp_path):
    assert cubins.find("text", 90, tmp_path / "none") is None
    (tmp_path / "file").touch()
    assert cubins.find("text", 90, tmp_path / "file") is None


def test_nothing_half_written_stays(folder, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        cubins.save("text", 90, b"cubin", folder)
    assert list(folder.iterdir()) == []


def _save_often(folder):
    for number in range(100):
        cubins.save("text", 90, b"x" * 100_000, folder)
        assert cubins.find("text", 90, folder), number


def test_processes_share_a_folder(folder):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(_save_often, [folder, folder])
    assert len(list(folder.iterdir())) == 1


def test_a_dry_run_reads_no_file(folder):
    before = texts()
    for text in before:
        cubins.save(text, 90, b"cubin", folder)
    assert texts() == before


def test_files_are_cubins_of_the_right_architecture(folder):
    if nvrtc.unavailable(80) is not None:
        pytest.skip(nvrtc.unavailable(80))
    text = 'extern "C" __global__ void k(int* x) { *x = 42; }'
    for sm in (80, 90):
        (kept,) = ahead.compile_into(folder, [(sm, text)])
        assert kept.seconds > 0
        header = kept.file.read_bytes()[:64]
        assert header[:4] == b"\x7fELF"
        assert header[48] == sm  # the architecture, in the low byte of ELF's e_flags
        (again,) = ahead.compile_into(folder, [(sm, text)])
        assert again == ahead.Kept(kept.file, sm, None)


def test_a_text_that_does_not_compile_says_so_and_the_others_stay(folder):
    if nvrtc.unavailable(80) is not None:
        pytest.skip(nvrtc.unavailable(80))
    good, bad = 'extern "C" __global__ void k(int* x) { *x = 1; }', "int broken("
    with pytest.raises(nvrtc.CompilationError, match="sm_80"):
        list(ahead.compile_into(folder, [(80, bad), (80, good)]))
    assert cubins.find(bad, 80, folder) is None
