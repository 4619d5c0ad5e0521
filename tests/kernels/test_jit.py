"""The compiled loops: where they are taken, what they leave to plain NumPy, and what is said where they cannot be."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import reference
from accuracy import assert_exact, integers

from backstride import _extras, jit, kernels
from backstride.kernels import dispatch

needs_numba = pytest.mark.skipif(jit.missing() is not None, reason="Numba is not installed")


def python(code: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **variables}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def no_numba(monkeypatch):
    """As where Numba is not installed."""
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setattr(jit._switch, "_process", None)
    jit.missing.cache_clear()
    yield
    jit.missing.cache_clear()


def module_of_a_call() -> str:
    """Where the function is defined that computes a convolution of NumPy arrays."""
    seen = []

    def watch(operation, compute, arguments):
        seen.append(compute.__module__)
        return compute(*arguments)

    token = dispatch.watching.set(watch)
    try:
        kernels.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))
    finally:
        dispatch.watching.reset(token)
    return seen[0]


@needs_numba
def test_loops_on_disk_are_those_of_all_sources(tmp_path, monkeypatch):
    """A function that calls one of another file is compiled again when that file changes."""
    from backstride.kernels.jit import compiled

    (tmp_path / "loops.py").write_text("def twice(a):\n    return 2 * a\n")
    monkeypatch.syspath_prepend(tmp_path)
    twice = importlib.import_module("loops").twice

    def found_on_disk() -> bool:
        function = compiled.compiled(twice)
        assert function(1.5) == 3
        return bool(function.stats.cache_hits)

    assert [found_on_disk(), found_on_disk()] == [False, True]
    kernels_of = Path(compiled.__file__).parents[1]
    loops = {
        file
        for file in kernels_of.rglob("*.py")
        if re.search("^@(compiled|allocating|regrouped|inlined)$", file.read_text(), re.M)
    }
    assert loops <= {kernels_of / name for name, *_ in compiled._sources()}
    monkeypatch.setattr(compiled, "_sources", lambda: (("reduce.py", 1, 1),))
    assert [found_on_disk(), found_on_disk()] == [False, True]


@needs_numba
def test_what_was_compiled_from_other_sources_is_not_read(tmp_path, monkeypatch):
    """It may name classes that have moved since."""
    from backstride.kernels.jit import correlate

    file = correlate._pack._cache._cache_file
    monkeypatch.setattr(file, "_index_path", str(tmp_path / "index"))
    with monkeypatch.context() as earlier:
        earlier.setattr(file, "_version", (*file._version[:-1], ("jit/earlier.py", 1, 1)))
        earlier.setattr(file, "_dump", lambda data: b"cbackstride.gone\nClass\n.")  # pickled: that class
        file._save_index({})
        with pytest.raises(ModuleNotFoundError):
            file._load_index()
    assert file._load_index() == {}


def test_they_are_taken_where_numba_is_installed(monkeypatch):
    monkeypatch.delenv(jit.VARIABLE, raising=False)
    monkeypatch.setattr(jit._switch, "_process", None)
    assert jit.get_jit()
    assert module_of_a_call() == "backstride.kernels.conv.jit"


@needs_numba
def test_use_jit_holds_inside_the_block_and_this_thread():
    with jit.use_jit(False):
        assert module_of_a_call() == "backstride.kernels.conv.cpu"
        found = []
        thread = threading.Thread(target=lambda: found.append(jit.get_jit()))
        thread.start()
        thread.join()
        assert found == [True]
    assert jit.get_jit()


@needs_numba
def test_set_jit_holds_for_the_process(monkeypatch):
    monkeypatch.setattr(jit._switch, "_process", None)
    jit.set_jit(False)
    assert not jit.get_jit()
    jit.set_jit(True)
    assert jit.get_jit()


@pytest.mark.parametrize("value", [0, "on", None])
def test_another_choice_is_an_error(value):
    with pytest.raises(TypeError, match="expected True or False"):
        jit.set_jit(value)


def test_without_numba_plain_numpy_computes(no_numba, monkeypatch):
    monkeypatch.delenv(jit.VARIABLE, raising=False)
    assert not jit.get_jit()
    assert module_of_a_call() == "backstride.kernels.conv.cpu"


def test_asking_for_them_without_numba_says_what_to_install(no_numba, monkeypatch):
    with pytest.raises(_extras.MissingExtraError, match=r"pip install 'backstride\[fast\]'"):
        jit.set_jit(True)
    assert not jit.get_jit()
    monkeypatch.setattr(jit._switch, "_process", None)
    monkeypatch.setenv(jit.VARIABLE, "1")
    with pytest.raises(_extras.MissingExtraError, match="Numba"):
        kernels.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))


def test_the_environment_turns_them_off():
    code = "import backstride; print(backstride.get_jit())"
    assert python(code, BACKSTRIDE_JIT="0") == "False\n"


def test_importing_backstride_imports_no_compiler():
    code = "import sys, backstride, backstride.layers; print('numba' in sys.modules, 'llvmlite' in sys.modules)"
    assert python(code) == "False False\n"


@needs_numba
def test_taps_that_no_forward_made_are_passed_over():
    """A tap may point anywhere: what lies outside the window or the image takes no gradient."""
    dy, taps = np.ones((1, 1, 2, 2), np.float32), np.array([[[[0, 200], [255, 8]]]], np.uint8)
    results = []
    for on in (False, True):
        with jit.use_jit(on):
            results.append(kernels.max_pool2d_grad(dy, taps, (1, 1, 4, 4), 3, stride=2, padding=1))
    np.testing.assert_array_equal(*results)


@needs_numba
@pytest.mark.parametrize("stride", [1, 2])
def test_taps_of_large_planes_that_no_forward_made(rng, stride):
    """Sums of whole numbers, which no order changes."""
    dy = rng.integers(-9, 9, (1, 3, -(-41 // stride), 42 // stride)).astype(np.float32)
    taps = rng.integers(0, 12, dy.shape, np.uint8)
    taps[rng.random(taps.shape) < 0.1] = 255
    results = []
    for on in (False, True):
        with jit.use_jit(on):
            results.append(kernels.max_pool2d_grad(dy, taps, (1, 3, 41, 42), 3, stride=stride, padding=1))
    np.testing.assert_array_equal(*results)


@needs_numba
def test_bits_of_an_image_do_not_depend_on_its_batch(rng):
    x = rng.standard_normal((9, 16, 14, 13)).astype(np.float32)
    w = rng.standard_normal((24, 16, 3, 3)).astype(np.float32)
    with jit.use_jit(True):
        y = kernels.conv2d(x, w, padding=1, stride=(1, 2))
        dx = kernels.conv2d_input_grad(y, w, x.shape, padding=1, stride=(1, 2))
        for n in (0, 4, 8):
            assert kernels.conv2d(x[n : n + 1], w, padding=1, stride=(1, 2)).tobytes() == y[n].tobytes()
            one = kernels.conv2d_input_grad(y[n : n + 1], w, (1, *x.shape[1:]), padding=1, stride=(1, 2))
            assert one.tobytes() == dx[n].tobytes()


@needs_numba
@pytest.mark.parametrize(
    ("x", "w"),
    [
        pytest.param((9, 13, 9, 10), (7, 13, 5, 5), id="gaps between images, and two chains of products"),
        pytest.param((18, 13, 3, 3), (3, 13, 3, 3), id="one window an image"),
        pytest.param((11, 1, 12, 9), (6, 1, 5, 5), id="taps and results that fill no tile"),
        pytest.param((3, 3, 61, 43), (17, 3, 3, 3), id="pixels that fill no vector"),
    ],
)
def test_what_no_tile_divides_is_exact(rng, x, w):
    x, w = integers(rng, x), integers(rng, w)
    y = reference.conv2d(x, w, np.zeros(len(w)))
    dy = integers(rng, y.shape)
    single_x, single_w, single_dy = (a.astype(np.float32) for a in (x, w, dy))
    with jit.use_jit(True):
        assert_exact(kernels.conv2d(single_x, single_w), y)
        dx, dw = reference.conv2d_input_grad(dy, w, x.shape), reference.conv2d_weight_grad(dy, x, w.shape)
        assert_exact(kernels.conv2d_input_grad(single_dy, single_w, x.shape), dx)
        assert_exact(kernels.conv2d_weight_grad(single_dy, single_x, w.shape), dw)


@needs_numba
def test_who_waits_for_the_compiler_is_told(caplog, monkeypatch):
    from backstride.kernels.jit import compiled

    monkeypatch.setattr(jit, "PATIENCE", 0.0)

    def slow(a):
        return a + 1

    slow.__module__ = "backstride.kernels.jit.slow"
    with caplog.at_level("INFO", logger="backstride"):
        compiled.njit(slow)(np.ones(3))
    assert "compiling backstride.kernels.jit.slow.slow for this processor" in caplog.text


@needs_numba
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_forked_while_a_thread_compiles():
    code = """
import os, signal, threading
from backstride.kernels.jit import compiled

def compiles(started):
    while True:
        compiled.njit(lambda a: a + 1)(1.0)
        started.set()

started = threading.Event()
threading.Thread(target=compiles, args=(started,), daemon=True).start()
started.wait()
found = set()
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        signal.alarm(150)  # kills a child that hangs
        os._exit(int(compiled.njit(lambda a: a + 2)(1.0) != 3.0))
    found.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(found, flush=True)
os._exit(0)
"""
    assert python(code) == "{0}\n"


@needs_numba
def test_a_folder_that_cannot_be_written_costs_only_the_next_start(monkeypatch):
    from backstride.kernels.jit import compiled

    monkeypatch.setattr(compiled, "njit", _without_a_folder(compiled.njit))
    assert compiled.compiled(_plus_one)(1) == 2


def _plus_one(a):
    return a + 1


def _without_a_folder(njit):
    def call(**options):
        if options.pop("cache", False):
            raise RuntimeError("cannot cache function: no locator available for file '<string>'")
        return njit(**options)

    return call
