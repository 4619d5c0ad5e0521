"""The fixtures that all tests share; above all `path`, the array library a kernel test runs on."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import cupys
import emulator
import hypothesis
import numpy as np
import pytest

from backstride import backend, batch_invariance, jit, precision
from backstride.kernels.cuda.runtime import cubins, nvrtc, replay

backend.set_backend("numpy")  # of arrays that a test makes without naming one, on a machine with a GPU too
jit.PATIENCE = 3600.0  # a slow machine's notices are none that a test waits for
os.environ[cubins.VARIABLE] = os.devnull  # kernels that were compiled ahead on this machine are none of the tests'

# The machine's speed is no property of the code: no deadline. Derandomised: a failure can be met again.
hypothesis.settings.register_profile("backstride", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("backstride")


@dataclasses.dataclass(frozen=True)
class Path:
    """One way to run a kernel: `asarray` makes its arrays from NumPy's (a fresh copy), `to_numpy` brings them back."""

    name: str
    asarray: Callable[[np.ndarray], Any]
    to_numpy: Callable[[Any], np.ndarray]

    def run(self, operation: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Call `operation` on this path: NumPy arrays go in and come out.

        Every call made here also shows that the inputs are as they were and the results are C-contiguous.
        """
        moved = [self.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
        result = operation(*moved, **options)
        for before, after in zip(arguments, moved, strict=True):
            if isinstance(before, np.ndarray):
                assert self.to_numpy(after).tobytes() == before.tobytes(), "an input was modified"
        for output in result if isinstance(result, tuple) else (result,):
            assert output.flags.c_contiguous, "an output is not C-contiguous"
        return tuple(map(self.to_numpy, result)) if isinstance(result, tuple) else self.to_numpy(result)


@contextlib.contextmanager
def numpy_path() -> Iterator[Path]:
    """Plain NumPy, which all other paths are judged by."""
    with jit.use_jit(False):
        yield Path("numpy", _read_only, np.asarray)


@contextlib.contextmanager
def jit_path() -> Iterator[Path]:
    if jit.missing() is not None:
        pytest.skip(f"no compiled loops here: {jit.missing()}")
    with jit.use_jit(True):
        yield Path("jit", _read_only, np.asarray)


def _read_only(a: np.ndarray) -> np.ndarray:
    copy = np.array(a)
    copy.flags.writeable = False
    return copy


@contextlib.contextmanager
def emulated_path() -> Iterator[Path]:
    """The CUDA path on the CPU, under the sanitizers."""
    if shutil.which("g++") is None:
        pytest.skip("the emulator compiles kernels with g++, which is not installed")
    # Arrays say where they live; with a backend in force no probe meets the emulator and is remembered.
    with emulator.installed() as cupy, backend.use_backend("numpy"):
        yield Path("emulated", cupy.asarray, cupy.asnumpy)


@contextlib.contextmanager
def cuda_path() -> Iterator[Path]:
    if backend.probe_cupy().failed is not None:
        pytest.skip(f"no GPU here: {backend.probe_cupy().reason}")
    cupy = backend.import_cupy()
    yield Path("cuda", cupy.asarray, cupy.asnumpy)


PATHS: dict[str, Callable[[], contextlib.AbstractContextManager[Path]]] = {
    "numpy": numpy_path,
    "jit": jit_path,
    "emulated": emulated_path,
    "cuda": cuda_path,
}
"""Name -> context manager that yields the Path; one that cannot work here calls pytest.skip with the reason."""


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> Iterator[Path]:
    with PATHS[request.param]() as found:
        yield found


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers seeded by the test's own name, so that each test meets the same ones wherever it runs."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(autouse=True)
def forgotten() -> None:
    """Tests that change what launchers do, or which CuPy they use, must not meet what another test found out."""
    replay.forget()
    backend.probe_cupy.cache_clear()


SWITCHES = {
    "float32 precision": precision.get_float32_precision,
    "batch invariance": batch_invariance.get_batch_invariant,
}


@pytest.fixture(autouse=True)
def switched_back() -> Iterator[None]:
    """A test that leaves a switch on would decide what the next ones in its process meet."""
    before = {name: get() for name, get in SWITCHES.items()}
    yield
    assert {name: get() for name, get in SWITCHES.items()} == before


@pytest.fixture
def torch() -> ModuleType:
    return pytest.importorskip("torch", reason="PyTorch is the reference")


SAMPLE = 24
"""One emulated test in this many is in ci/test, and another in what CI runs of ci/emulator."""
OTHER_RANKS = re.compile(r"[a-z][13]d")
"""Operations along one and three axes run the kernels of those along two: of what is tested for every operation the
emulator has one test in SAMPLE for them."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what a part of CI needs more for than the others, see `markers` in pyproject.toml."""
    items[:] = [item for item in items if not _is_one_too_many(item)]
    for item in items:
        if _is_emulated(item):
            item.add_marker("emulated")
        if item.get_closest_marker("emulated") and (share := zlib.crc32(item.nodeid.encode()) % SAMPLE) < 2:
            item.add_marker(("sample", "second_sample")[share])
        if _looks_at_torch(item):
            item.add_marker("torch")
        if item.path.parent.name == "docs" or item.path.name == "test_docstrings.py":
            item.add_marker("docs")


def _is_one_too_many(item: pytest.Item) -> bool:
    generic = item.path.parent.name == "kernels" and OTHER_RANKS.search(item.name)
    return bool(generic and _is_emulated(item) and zlib.crc32(item.nodeid.encode()) % SAMPLE)


def _is_emulated(item: pytest.Item) -> bool:
    """Whether its array library is the emulator's: on that path, or by a fixture that is not for real CuPy."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if "path" in parameters:
        return parameters["path"] == "emulated"
    return "cupy" in getattr(item, "fixturenames", ()) and parameters.get("cupy") is not cupys.real


def _looks_at_torch(item: pytest.Item) -> bool:
    by_name = "torch" in getattr(item, "fixturenames", ()) or hasattr(getattr(item, "module", None), "torch")
    return by_name or item.path.parent.name == "benchmarks"


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("compiler") and nvrtc.unavailable(80) is not None:
        pytest.skip(str(nvrtc.unavailable(80)))
