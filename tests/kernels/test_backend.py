"""The backend switch. What is read once per process is tested in a process of its own, and CuPy's failures with
little modules of that name."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from types import ModuleType

import numpy as np
import pytest

import backstride
from backstride import BackendUnavailableError, backend

# What a probe meets: nothing to import, no device, a compiler that fails, a kernel that writes nonsense, a good CuPy.
CUPY_WITHOUT_LIBRARY = "raise ImportError('libcuda.so.1: cannot open shared object file')"
CUPY = """
import numpy
__version__ = "14.2.0"
{definitions}
class ndarray: pass
class cuda:
    class runtime:
        getDevice = staticmethod(lambda: {device})
        getDeviceCount = staticmethod(lambda: 1)
class Buffer:
    def __init__(self): self.values = numpy.zeros(1, numpy.int32)
    def get(self): return self.values
def zeros(shape, dtype): return Buffer()
class RawKernel:
    def __init__(self, source, name): pass
    def __call__(self, grid, block, arguments): arguments[0].values[:] = {written}
"""
FAIL = "def fail(message): raise RuntimeError(message + '\\nsecond line')"
CUPY_WITHOUT_DEVICE = CUPY.format(definitions=FAIL, device="fail('cudaErrorNoDevice')", written=42)
CUPY_WITHOUT_COMPILER = CUPY.format(definitions=FAIL, device=0, written="fail('nvrtc not found')")
CUPY_WITH_WRONG_KERNEL = CUPY.format(definitions="", device=0, written=41)
CUPY_THAT_WORKS = CUPY.format(definitions="", device=0, written=42)


@pytest.fixture
def python(tmp_path):
    """Run code in a fresh interpreter, with `cupy` as the text of the module it would import."""

    def run(code: str, cupy: str | None = None, **environment: str) -> str:
        if cupy is not None:
            (tmp_path / "cupy.py").write_text(cupy)
        clean = {k: v for k, v in os.environ.items() if k != "BACKSTRIDE_BACKEND"}
        search = os.pathsep.join([str(tmp_path), *filter(None, [clean.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            cwd=tmp_path,
            env={**clean, "PYTHONPATH": search, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


GET = "import backstride; print(backstride.get_backend())"
EXPLAIN = """
    import backstride
    try:
        backstride.get_backend()
    except Exception as error:
        print(type(error).__name__, error)
"""


def test_auto_is_the_default(python):
    assert python(GET, CUPY_THAT_WORKS) == python(GET, CUPY_THAT_WORKS, BACKSTRIDE_BACKEND="auto") == "cupy"


@pytest.mark.parametrize(
    "cupy", [CUPY_WITHOUT_LIBRARY, CUPY_WITHOUT_DEVICE, CUPY_WITHOUT_COMPILER, CUPY_WITH_WRONG_KERNEL]
)
def test_auto_falls_back_in_silence(python, cupy):
    assert python(GET, cupy) == "numpy"


@pytest.mark.parametrize("name", ["cupy", "compare"])
@pytest.mark.parametrize(
    ("cupy", "failed", "reason", "mend"),
    [
        (CUPY_WITHOUT_LIBRARY, "import", "ImportError: libcuda.so.1", "pip install"),
        (CUPY_WITHOUT_DEVICE, "device", "RuntimeError: cudaErrorNoDevice)", "nvidia-smi"),
        (CUPY_WITHOUT_COMPILER, "kernel", "RuntimeError: nvrtc not found)", "NVRTC"),
        (CUPY_WITH_WRONG_KERNEL, "kernel", "wrote a wrong value", "NVRTC"),
    ],
)
def test_an_explicit_backend_fails_loudly(python, name, cupy, failed, reason, mend):
    told = python(EXPLAIN, cupy, BACKSTRIDE_BACKEND=name)
    assert told.startswith(f"BackendUnavailableError backend '{name}' is unavailable: the {failed} probe failed")
    assert reason in told
    assert mend in told
    assert "backend 'numpy'" in told


def test_explicit_backends_that_work(python):
    assert python(GET, CUPY_THAT_WORKS, BACKSTRIDE_BACKEND="cupy") == "cupy"
    assert python(GET, CUPY_THAT_WORKS, BACKSTRIDE_BACKEND="compare") == "compare"
    assert python(GET, CUPY_THAT_WORKS, BACKSTRIDE_BACKEND="numpy") == "numpy"


def test_unknown_name_in_the_environment(python):
    told = python(EXPLAIN, BACKSTRIDE_BACKEND="Torch")
    assert told == "ValueError BACKSTRIDE_BACKEND is 'Torch'; expected one of auto, numpy, cupy, compare"


def test_environment_is_read_once_at_first_use(python):
    code = """
        import os, backstride
        os.environ["BACKSTRIDE_BACKEND"] = "numpy"
        first = backstride.get_backend()
        os.environ["BACKSTRIDE_BACKEND"] = "nonsense"
        print(first, backstride.get_backend())
    """
    assert python(code, CUPY_THAT_WORKS) == "numpy numpy"


def test_set_backend_goes_before_the_environment(python):
    code = "import backstride; backstride.set_backend('numpy'); print(backstride.get_backend())"
    assert python(code, BACKSTRIDE_BACKEND="nonsense") == "numpy"


def test_probes_run_once(python):
    counting = "print('probed')\n" + CUPY_WITHOUT_LIBRARY  # a module that fails is executed at every import
    code = """
        import backstride
        for _ in range(3):
            try:
                backstride.set_backend("cupy")
            except backstride.BackendUnavailableError:
                pass
        backstride.set_backend("auto")
    """
    assert python(code, counting).count("probed") == 1


def test_import_needs_numpy_alone(python):
    code = """
        import sys, numpy
        before = set(sys.modules)
        import backstride, backstride.kernels
        roots = {name.partition(".")[0] for name in set(sys.modules) - before}
        print(sorted(roots - set(sys.stdlib_module_names)))
    """
    assert python(code, "raise AssertionError('imported before it was asked for')") == "['backstride']"


def test_numpy_path_never_imports_cupy(python):
    code = """
        import numpy as np, backstride, backstride.kernels as kernels
        kernels.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))
        backstride.set_backend("numpy")
        backstride.to_numpy(backstride.asarray([1, 2]))
        backstride.synchronize()
        print("done")
    """
    assert python(code, "raise AssertionError('imported before it was asked for')") == "done"


def test_import_is_fast(python, tmp_path, monkeypatch):
    """Of processor time it takes 0.8 times what NumPy's own import takes, in the best of five interpreters; how many
    milliseconds that is depends on the machine."""
    code = """
        import time
        start = time.process_time()
        import numpy
        between = time.process_time()
        import backstride
        print((time.process_time() - between) / (between - start))
    """
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)  # the first of them compiles for the others
    assert min(float(python(code, PYTHONPYCACHEPREFIX=str(tmp_path / "compiled"))) for _ in range(6)) < 1.25


def test_explain_is_imported_when_it_is_asked_for(python):
    code = """
        import sys, backstride
        before = "backstride.explanation.page" in sys.modules
        print(before, "explain" in dir(backstride), callable(backstride.explain))
    """
    assert python(code) == "False True True"


@pytest.fixture
def numpy_backend(monkeypatch):
    monkeypatch.setattr(backend._switch, "_process", "numpy")


@pytest.fixture
def cupy_backend(monkeypatch):
    """A process whose probes all passed and whose backend is CuPy; nothing in the test makes an array."""
    monkeypatch.setattr(backend, "probe_cupy", lambda: backend.Probe(None, "", ""))
    monkeypatch.setattr(backend._switch, "_process", "cupy")


def test_use_backend_nests_and_restores(cupy_backend):
    with backstride.use_backend("numpy"):
        assert backstride.get_backend() == "numpy"
        with backstride.use_backend("compare"):
            assert backstride.get_backend() == "compare"
        assert backstride.get_backend() == "numpy"
    assert backstride.get_backend() == "cupy"


def test_use_backend_restores_after_an_exception(cupy_backend):
    with pytest.raises(KeyError), backstride.use_backend("numpy"):
        raise KeyError
    assert backstride.get_backend() == "cupy"


def test_set_backend_inside_use_backend_shows_after_it(cupy_backend):
    with backstride.use_backend("compare"):
        backstride.set_backend("numpy")
        assert backstride.get_backend() == "compare"
    assert backstride.get_backend() == "numpy"


def test_use_backend_is_for_its_thread(cupy_backend):
    seen = []
    entered, left = threading.Event(), threading.Event()

    def other():
        entered.wait()
        seen.append(backstride.get_backend())
        left.set()

    thread = threading.Thread(target=other)
    thread.start()
    with backstride.use_backend("numpy"):
        entered.set()
        left.wait(10)
    thread.join()
    assert seen == ["cupy"]


def test_use_backend_is_for_its_task(cupy_backend):
    async def task(name: str, wait: asyncio.Event, go: asyncio.Event) -> str:
        with backstride.use_backend(name):
            go.set()
            await wait.wait()
            return backstride.get_backend()

    async def both() -> list[str]:
        one, two = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(task("numpy", one, two), task("compare", two, one))

    assert asyncio.run(both()) == ["numpy", "compare"]


@pytest.mark.parametrize("switch", [backstride.set_backend, lambda name: backstride.use_backend(name).__enter__()])
def test_a_refused_switch_leaves_the_backend(numpy_backend, monkeypatch, switch):
    with pytest.raises(ValueError, match="backend is 'jax'; expected one of auto, numpy, cupy, compare"):
        switch("jax")
    monkeypatch.setattr(backend, "probe_cupy", lambda: backend.Probe("device", "none", "buy one"))
    with pytest.raises(BackendUnavailableError, match=r"the device probe failed \(none\); buy one"):
        switch("cupy")
    assert backstride.get_backend() == "numpy"


def test_unavailable_is_a_runtime_error():
    assert issubclass(BackendUnavailableError, RuntimeError)


def test_array_module_of_numpy_arrays():
    assert backstride.get_array_module(np.ones(1), np.zeros((2, 2), np.float32)) is np


@pytest.mark.parametrize("bad", [[1.0], 1.0, None, "x"])
def test_array_module_of_other_things(bad):
    with pytest.raises(TypeError, match=f"got a {type(bad).__name__}; expected a numpy.ndarray or cupy.ndarray"):
        backstride.get_array_module(np.ones(1), bad)


def test_array_module_of_nothing():
    with pytest.raises(TypeError, match="got no arrays"):
        backstride.get_array_module()


def test_array_module_of_a_mixture(path):
    if path.name in ("numpy", "jit"):
        pytest.skip("needs arrays of a second library")
    with pytest.raises(TypeError, match="got numpy, cupy; expected arrays of one library"):
        backstride.get_array_module(np.ones(1), path.asarray(np.ones(1)))


def test_asarray_copies_only_where_it_must(numpy_backend):
    a = np.arange(3.0)
    assert backstride.asarray(a) is a
    assert backstride.asarray(a, dtype=np.float32).dtype == np.float32
    assert backstride.asarray([1, 2]).tolist() == [1, 2]


def test_to_numpy(path):
    a = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(backstride.to_numpy(path.asarray(a)), a, strict=True)
    assert backstride.to_numpy(a) is a
    assert backstride.to_numpy([1, 2]).tolist() == [1, 2]


def test_nothing_is_pending_on_numpy(numpy_backend):
    assert backstride.synchronize() is None


def test_a_cupy_that_another_thread_is_importing_has_no_arrays_yet(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", ModuleType("cupy"))
    assert not backend.is_cupy(np.zeros(1))
    assert backend.get_array_module(np.zeros(1)) is np
