"""Kernels compiled ahead of time: what `backstride warm` leaves is what the loader asks for, if the file is whole.

No GPU is needed: the loader meets a CuPy that only tells what it was asked to load or to compile.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import struct
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import cupys
import emulator
import numpy as np
import pytest

import backstride
from backstride import backend, jit
from backstride.cli import main
from backstride.cli import warm as warm_command
from backstride.cli.train.run import Run
from backstride.cli.train.settings import Settings
from backstride.conformance import call_text, calls
from backstride.conformance.recording import noting
from backstride.conformance.suite import all_cases
from backstride.kernels import FUNCTIONS, OPERATIONS
from backstride.kernels.cuda.offline import ahead
from backstride.kernels.cuda.offline.dryrun import Device, DryCupy
from backstride.kernels.cuda.runtime import cubins, loader, nvrtc
from backstride.kernels.operation import CUDA, Case, implementation

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
        self.compiles = True

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


def convolutions(dtype=np.float32):
    for operation in OPERATIONS.values():
        if operation.family.name == "conv":
            yield operation, calls.call(operation, CASE, calls.bare(np.dtype(dtype)))


def run(cupy, dtype=np.float32):
    """A convolution and its gradients on this CuPy."""
    with backend.stand_in_for_cupy(cupy):
        for operation, arguments in convolutions(dtype):
            arrays = (cupy.empty(a.shape, a.dtype) if hasattr(a, "dtype") else a for a in arguments)
            implementation(operation, CUDA)(*arrays)
    return cupy


def texts(device=H100):
    """The CUDA texts of the same calls, by a dry run."""
    return {launch.text for call in convolutions() for launch in ahead.launches(call, device)}


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


def test_a_file_that_the_driver_cannot_use_is_compiled(folder, caplog):
    """And named: otherwise nobody learns that what was compiled ahead is of no use."""
    for text in texts():
        cubins.save(text, 90, text.encode(), folder)
    assert set(run(TellingCupy(loads=False)).compiled) == texts()
    said = [record.getMessage() for record in caplog.records if "the driver refuses this kernel" in record.getMessage()]
    for file in folder.iterdir():
        assert any(str(file) in message for message in said)


@pytest.mark.parametrize(("seconds", "level"), [(0.0, logging.DEBUG), (1.5, logging.INFO)])
def test_where_a_kernel_comes_from_is_said(folder, seconds, level, caplog, monkeypatch):
    """Aloud where it takes long."""
    times = itertools.count(0.0, seconds)
    monkeypatch.setattr(loader, "time", SimpleNamespace(monotonic=lambda: next(times)))
    caplog.set_level(logging.DEBUG, "backstride")
    some, *_ = texts()
    file = cubins.save(some, 90, b"cubin", folder)
    cupy = run(TellingCupy())
    said = [(record.levelno, record.getMessage().partition(": ")[2]) for record in caplog.records]
    assert said.count((level, f"compiled, or found in CuPy's cache, in {seconds} s")) == len(cupy.compiled)
    assert said.count((logging.DEBUG, f"read from {file}")) == len(cupy.read) == 1


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:10] + b"?" + b[11:]])
def test_a_damaged_file_is_passed_over_and_written_again(folder, damage):
    file = cubins.save("text", 90, b"a cubin of some length", folder)
    assert cubins.find("text", 90, folder) == file
    file.write_bytes(damage(file.read_bytes()))
    assert cubins.find("text", 90, folder) is None
    assert cubins.save("text", 90, b"a cubin of some length", folder) == cubins.find("text", 90, folder)


def test_a_file_of_version_0_1_is_passed_over(folder):
    """They lack their last byte; their names do not say so."""
    truncated = b"\x7fELF, all but the last byte"
    stem = cubins._digest(" ".join((*nvrtc.OPTIONS, "text")).encode())
    (folder / f"sm_90-{stem}-{cubins._digest(truncated)}.cubin").write_bytes(truncated)
    assert cubins.find("text", 90, folder) is None


def test_without_a_folder_there_is_nothing(tmp_path):
    assert cubins.find("text", 90, tmp_path / "none") is None
    (tmp_path / "file").touch()
    assert cubins.find("text", 90, tmp_path / "file") is None


def test_nothing_half_written_stays(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        cubins.save("text", 90, b"cubin", folder)
    assert list(folder.iterdir()) == []


def test_processes_share_a_folder(folder):
    often = f"""
        from pathlib import Path
        from backstride.kernels.cuda.runtime import cubins
        folder = Path({str(folder)!r})
        for number in range(100):
            cubins.save("text", 90, b"x" * 100_000, folder)
            assert cubins.find("text", 90, folder), number
    """
    started = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(often)]) for _ in range(2)]
    assert [process.wait(120) for process in started] == [0, 0]
    assert len(list(folder.iterdir())) == 1


def test_a_dry_run_reads_no_file(folder):
    before = texts()
    for text in before:
        cubins.save(text, 90, b"cubin", folder)
    assert texts() == before


@pytest.mark.compiler
def test_files_are_cubins_of_the_right_architecture(folder):
    text = 'extern "C" __global__ void k(int* x) { *x = 42; }'
    for sm in (80, 90):
        (kept,) = ahead.compile_into(folder, [(sm, text)])
        assert kept.seconds > 0
        content = kept.file.read_bytes()
        assert content[48] == sm  # the architecture, in the low byte of ELF's e_flags
        assert elf_end(content) <= len(content)
        (again,) = ahead.compile_into(folder, [(sm, text)])
        assert again == ahead.Kept(kept.file, sm, None)


def elf_end(content):
    """Where the last section, section header or program header of a 64-bit ELF file ends (elf(5))."""
    assert content[:5] == b"\x7fELF\x02"
    programs, sections = struct.unpack_from("<QQ", content, 32)
    ends = []
    for place, pair in ((programs, 54), (sections, 58)):
        size, count = struct.unpack_from("<HH", content, pair)
        ends.append(place + size * count)
    for header in range(sections, ends[1], 64):
        (kind,) = struct.unpack_from("<I", content, header + 4)
        offset, size = struct.unpack_from("<QQ", content, header + 24)
        ends.append(offset + (0 if kind == 8 else size))  # 8: SHT_NOBITS, which takes no place in the file
    return max(ends)


@pytest.mark.compiler
def test_a_cubin_with_or_without_its_last_byte_is_whole(monkeypatch):
    """CuPy 14.2 drops it; one that does not must not get another, nor one that holds data behind its headers."""
    text = 'extern "C" __global__ void k(int* x) { __shared__ int y[64]; y[threadIdx.x] = *x; x[1] = y[2]; }'
    library = backend.import_cupy().cuda.nvrtc
    cubin, _ = nvrtc.compiled(text, 90)
    whole = cubin[: elf_end(cubin)]
    assert len(whole) == elf_end(cubin)
    for given, expected in ((whole, whole), (whole[:-1], whole), (whole + b"x", whole + b"x")):
        monkeypatch.setattr(library, "getCUBIN", lambda program, given=given: given)
        assert nvrtc.compiled(text, 90)[0] == expected
    monkeypatch.setattr(library, "getCUBIN", lambda program: whole[:-2])
    with pytest.raises(nvrtc.CompilationError, match="its ELF header says"):
        nvrtc.compiled(text, 90)


def test_kernels_are_compiled_ahead_on_the_current_device(monkeypatch):
    """A thread begins on device 0; where a module is made, there it is loaded."""
    with emulator.installed() as cupy, backend.use_backend("numpy"):
        loaded = []

        def module(*, code, options):
            loaded.append(cupy.cuda.runtime.getDevice())
            return SimpleNamespace(get_function=lambda entry: loaded.append(cupy.cuda.runtime.getDevice()))

        monkeypatch.setattr(cupy, "RawModule", module)
        with cupy.cuda.Device(1):
            ahead.compile_ahead(convolutions())
    assert len(loaded) > 4
    assert set(loaded) == {1}


@pytest.mark.compiler
def test_a_text_that_does_not_compile_says_so_and_the_others_stay(folder):
    good, bad = 'extern "C" __global__ void k(int* x) { *x = 1; }', "int broken("
    with pytest.raises(nvrtc.CompilationError, match="sm_80"):
        list(ahead.compile_into(folder, [(80, bad), (80, good)]))
    assert cubins.find(bad, 80, folder) is None


def test_a_real_gpu_runs_them(folder, monkeypatch):
    with cupys.real(monkeypatch) as cupy:
        device, make, compiled = ahead.current_device(), cupy.RawModule, []
        assert len(list(ahead.compile_into(folder, [(device.sm, text) for text in texts(device)]))) > 2

        def telling(*, code=None, path=None, options=()):
            if code is None:
                return make(path=path)
            compiled.append(code)
            return make(code=code, options=options)

        monkeypatch.setattr(cupy, "RawModule", telling)
        loader._kernel.cache_clear()
        rng = np.random.default_rng(0)
        x, w = (rng.standard_normal(shape, np.float32) for shape in (CASE.x, CASE.w))
        y = backstride.kernels.conv2d(cupy.asarray(x), cupy.asarray(w), **CASE.options)
        assert compiled == []
        # 72 products a sum; each path rounds in its own order
        np.testing.assert_allclose(y.get(), backstride.kernels.conv2d(x, w, **CASE.options), rtol=1e-4, atol=1e-4)


# --- the command


def warm(*arguments):
    return main(["warm", *map(str, arguments)])


@pytest.fixture
def compiler(monkeypatch):
    """In NVRTC's place: every text compiles at once, into itself."""
    compiled = []

    def compile_(text, sm, *options):
        compiled.append((sm, text))
        return text.encode(), ""

    monkeypatch.setattr(nvrtc, "unavailable", lambda sm: None)
    monkeypatch.setattr(nvrtc, "compiled", compile_)
    return compiled


def test_command_compiles_what_the_calls_of_a_file_need(folder, compiler, tmp_path_factory):
    file = tmp_path_factory.mktemp("shapes") / "net.shapes"
    file.write_text("# a layer\n\nconv2d --x 2,8,9,9 --w 8,8,3,3 --padding 1 --stride 2  # and its gradients\n")
    assert warm("--sm", "90", "--shapes", file) == 0
    assert {text for _, text in compiled_for(compiler, 90)} == texts()
    assert run(TellingCupy()).compiled == []


def compiled_for(compiler, sm):
    return [each for each in compiler if each[0] == sm]


def test_command_goes_on_where_it_was(folder, compiler, capsys):
    assert warm("--sm", "80,90", "--suite", "lenet") == 0
    assert len(compiler) == len(set(compiler)) == len(list(folder.iterdir()))
    first = capsys.readouterr().out
    some = sorted(folder.iterdir())[::2]
    for file in some:
        file.unlink()
    before = len(compiler)
    assert warm("--sm", "80,90", "--suite", "lenet") == 0
    assert len(compiler) == before + len(some)
    assert " 0 there already" in first
    assert " 0 there already" not in capsys.readouterr().out


def test_command_covers_a_run_of_train(folder, compiler):
    """The default: every call that training and testing on the digits makes, at every batch size."""
    pytest.importorskip("sklearn")
    assert warm("--sm", "90") == 0
    made = []
    with backstride.use_backend("numpy"):
        training = Run(Settings())
        with noting(made.append):
            training.epoch(lambda: None)
    for line in made:
        call = call_text.parse(line)
        arguments = calls.call(call.operation, call.case, calls.bare(np.dtype(np.float32)))
        for launch in ahead.launches((call.operation, arguments), H100):
            assert cubins.find(launch.text, 90, folder), line
    assert {call_text.parse(line).case.x[0] for line in made} == {32, 29, 360}


def test_command_compiles_for_every_gpu_of_an_architecture(folder, compiler):
    """How many multiprocessors there are decides which kernels run: those of the L4 and of the RTX 4090 differ."""
    wide = set()
    for count in ("58", "128"):
        compiler.clear()
        assert warm("--sm", "89", "--sms", count, "--suite", "resnet50", "--cache", folder / count) == 0
        wide.add(frozenset(compiler))
    compiler.clear()
    assert warm("--sm", "89", "--suite", "resnet50", "--cache", folder / "both") == 0
    assert set(compiler) == set.union(*map(set, wide))


def test_command_takes_several_dtypes_and_batches(folder, compiler):
    assert warm("--sm", "80", "--suite", "pooling", "--dtype", "float16,float64", "--batch", "1,2") == 0
    # the first in a text, where it has one: another is the source's own default
    found = [re.search("#define TYPE (.*)", text) for _, text in compiler]
    assert {match[1] for match in found if match} == {"float16", "double"}


def test_a_line_may_name_its_dtype(folder, compiler, tmp_path):
    file = tmp_path / "shapes"
    file.write_text("avg_pool2d --x 1,2,8,8 --kernel-size 2 --dtype float64\navg_pool2d --x 1,2,8,8 --kernel-size 2\n")
    assert warm("--sm", "80", "--shapes", file, "--dtype", "float16") == 0
    assert {re.search("#define TYPE (.*)", text)[1] for _, text in compiler} == {"double", "float16"}


def test_precision_decides_what_is_compiled(folder, compiler):
    def policies(precision):
        compiler.clear()
        assert warm("--sm", "90", "--suite", "linear", "--precision", precision, "--cache", folder / precision) == 0
        return {found[1] for _, text in compiler if (found := re.search("#define MULTIPLY (.*)", text))}

    assert policies("ieee") == {"Ffma"}
    assert policies("tf32") == {"Tf32", "WgmmaTf32"}


def test_info_tells_how_many_there_are(folder, compiler, capsys):
    assert warm("--sm", "90", "--suite", "backprop") == 0
    assert main(["info", "--backend", "numpy"]) == 0
    assert re.search(rf"^compiled ahead +{len(compiler)} kernels in {folder}$", capsys.readouterr().out, re.MULTILINE)


def test_another_folder_is_told(folder, compiler, tmp_path, capsys):
    assert warm("--sm", "90", "--suite", "backprop") == 0
    assert cubins.VARIABLE not in capsys.readouterr().out
    assert warm("--sm", "90", "--suite", "backprop", "--cache", tmp_path / "a" / "b") == 0
    assert f"programs find them with {cubins.VARIABLE}={tmp_path / 'a' / 'b'}" in capsys.readouterr().out
    assert len(list((tmp_path / "a" / "b").iterdir())) > 10


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("conv2d --x 8,3,32,32 --w 16,4,3,3", "conv2d: w.shape is (16, 4, 3, 3) (axis 1 is 4)"),
        ("conv4d --x 1", "invalid choice: 'conv4d'"),
        ("conv3d --x 1,2,3,4", "conv3d: x.shape is (1, 2, 3, 4); expected five axes (N, C, D, H, W)"),
        ("conv2d --w 1,1,1,1", "name an operation and its shapes"),
        ("--x 1,1,1,1", "the following arguments are required: OPERATION"),
        ("conv2d --x 1,a", "argument --x: invalid extents value: '1,a'"),
        ('conv2d --x "1,2', "No closing quotation"),
        ("conv2d --x 1,3,8,8 --w 4,3,3,3 --fancy 3", "unrecognized arguments: --fancy 3"),
        ("conv2d --x 1,3,8,8 --w 4,3,3,3 --kernel-size 3", "conv2d has no option kernel_size"),
        ("conv2d --x 1,3,8,8 --w 4,3,3,3 --dtype int8", "argument --dtype: invalid choice: 'int8'"),
        ("conv2d --x 100000,64,512,512 --w 4,64,3,3", "pixels of x is 26214400000; expected less than"),
        ("max_pool2d --x 1,3,8,8", "max_pool2d: kernel_size is None"),
    ],
)
def test_a_bad_line_is_named(folder, compiler, tmp_path, line, message, capsys):
    file = tmp_path / "bad.shapes"
    file.write_text(f"# all is well here\n{line}\n")
    assert warm("--sm", "90", "--shapes", file) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"backstride: error: {file}, line 2: ")
    assert message in err
    assert err.count("\n") == 1
    assert compiler == []


def test_every_bad_line_is_named(folder, compiler, tmp_path, capsys):
    file = tmp_path / "bad.shapes"
    file.write_text("fly --x 1\nconv2d --x 1,3,8,8 --w 4,3,3,3\nconv2d --x 1,a\n" + "max_pool2d --x 1,3,8,8\n" * 11)
    assert warm("--sm", "90", "--shapes", file) == 2
    err = capsys.readouterr().err
    assert f"{file}, line 1: " in err
    assert f"; {file}, line 3: argument --x: invalid extents value: '1,a'; {file}, line 4: " in err
    assert "line 2:" not in err
    assert err.endswith("; and 3 more\n")
    assert err.count("\n") == 1
    assert compiler == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sm", "91"], "argument --sm: '91' is not one of 50, 52, 60, 61, 70, 72, 75, 80, 86"),
        (["--sm", "90,"], "argument --sm: '' is not one of"),
        (["--sm", "90", "--dtype", "float8"], "argument --dtype: 'float8' is not one of float16, bfloat16"),
        (["--sm", "90", "--batch", "4,0"], "argument --batch: '0' is not an int of at least 1"),
        (["--sm", "90", "--suite", "nothing"], "argument --suite: invalid choice: 'nothing'"),
        (["--sm", "90", "--shapes", "no-such"], "argument --shapes: no-such cannot be read: No such file"),
        (["--sm", "90", "--shapes", os.devnull], "there is no kernel to compile"),
        (["--sm", "90", "--cache", f"{os.devnull}/x"], f"{os.devnull}/x cannot be made a folder"),
    ],
)
def test_bad_input_is_one_line_and_status_2(folder, compiler, arguments, message, capsys):
    try:
        status = warm(*arguments)
    except SystemExit as stop:  # argparse's own
        status = stop.code
    assert status == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("backstride: error: ")
    assert message in err


def test_it_says_what_is_missing(folder, monkeypatch, capsys):
    monkeypatch.setattr(warm_command, "probe_cupy", lambda: backend.Probe("device", "no device", ""))
    assert warm() == 2
    assert "there is no GPU here to compile for; name compute capabilities" in capsys.readouterr().err
    monkeypatch.setattr(nvrtc, "unavailable", lambda sm: "compiling needs CuPy and NVRTC: ImportError: libnvrtc.so")
    assert warm("--sm", "90") == 2
    assert "ImportError: libnvrtc.so; pip install -U 'backstride[cuda12]'" in capsys.readouterr().err


def test_a_folder_that_takes_no_file(folder, compiler, monkeypatch, capsys):
    def refuse(**_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert warm("--sm", "90", "--suite", "backprop") == 2
    assert f"{folder} cannot be written: Permission denied" in capsys.readouterr().err


def test_a_disk_that_is_full_half_way(folder, compiler, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert warm("--sm", "90", "--suite", "backprop") == 1
    assert f"{folder} cannot be written: No space left on device" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


# --- a program's calls as text


def test_every_call_is_said_and_understood():
    """The text of every call of the conformance suite leads back to the same shapes, dtypes and options."""
    said = 0
    for operation, case in ((f.operation, case) for f in FUNCTIONS.values() for case in all_cases(f)):
        arguments = calls.call(operation, case, calls.bare(np.dtype(np.float16)))
        line = call_text.line(operation, arguments)
        call = call_text.parse(line)
        again = calls.call(call.operation, call.case, calls.bare(np.dtype(call.dtype or np.float16)))
        assert call.operation is operation
        assert [_seen(a) for a in again] == [_seen(a) for a in arguments], line
        said += 1
    assert said > 400


def _seen(argument):
    return (argument.shape, argument.dtype) if hasattr(argument, "dtype") else argument


def test_a_step_is_recorded_once_for_each_different_call(tmp_path):
    file = tmp_path / "net.shapes"
    x, w = np.zeros((2, 3, 8, 8), np.float32), np.zeros((4, 3, 3, 3), np.float32)
    with backstride.record_shapes(file):
        for _ in range(3):
            y = backstride.kernels.conv2d(x, w, padding=1)
        backstride.kernels.conv2d_weight_grad(y, x, w.shape, padding=1)
    backstride.kernels.conv2d(x, w)
    shapes = "--x 2,3,8,8 --w 4,3,3,3 --stride 1,1 --padding 1,1,1,1 --dtype float32"
    assert file.read_text() == f"conv2d {shapes}\nconv2d_weight_grad {shapes}\n"


def test_recording_needs_a_file_it_can_write(tmp_path):
    with pytest.raises(FileNotFoundError), backstride.record_shapes(tmp_path / "none" / "net.shapes"):
        pass


def test_loops_of_numpy_arrays(capsys, monkeypatch):
    if jit.missing():
        pytest.skip(f"no compiled loops here: {jit.missing()}")
    assert main(["warm", "--cpu"]) == 0
    assert re.fullmatch(r"compiled the loops of NumPy arrays for this processor in \d+ s\n", capsys.readouterr().out)
    from backstride.kernels.jit import correlate, weight_grad
    from backstride.kernels.pool import channels_last_loops as pixels
    from backstride.kernels.pool import jit as pool

    for loop in (correlate._blocks, weight_grad._accumulate, pool._max_pool, pool._avg_pool_grad, pixels.spread_pixels):
        assert len(loop.signatures) >= 2, loop  # of float32 and of float64
    assert len(pixels.max_pixels.signatures) >= 4  # the same, with taps of 8 and of 16 bits


def test_loops_without_numba(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    jit.missing.cache_clear()
    assert main(["warm", "--cpu"]) == 2
    assert "pip install 'backstride[fast]'" in capsys.readouterr().err
    monkeypatch.undo()
    jit.missing.cache_clear()
