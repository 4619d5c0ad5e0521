"""install() shows the functions to programs that import cupy.cudnn, in a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap

import pytest

INSTALL = "from backstride.interop.cudnn import install; install()\n"

PROGRAM = """
import importlib.util, sys

assert "cupy" in sys.modules and "cupyx" in sys.modules
assert importlib.util.find_spec("cupy.cuda.cudnn") is not None
import cupy, cupyx
from cupy import cudnn
import cupy.cudnn, cupyx.cudnn, cupy.cuda.cudnn as libcudnn
from cupyx.cudnn import convolution_forward
from backstride.interop import cudnn as functions

assert functions is cudnn is cupy.cudnn is cupyx.cudnn
assert functions.convolution_forward is convolution_forward
assert libcudnn is cupy.cuda.cudnn and libcudnn.available
assert libcudnn.getVersion() >= 7401  # from which on Chainer calls batch_normalization_forward_training_ex
assert libcudnn.CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING == cudnn.CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING == 2
"""


def run(code: str, *folders) -> str:
    """What the code prints, in a process whose imports look into these folders first."""
    found = f"import sys; sys.path[:0] = {list(map(str, folders))}\n{code}"
    done = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def cupy(tmp_path):
    """A folder with packages that are called cupy, cupy.cuda and cupyx."""
    for package in ("cupy", "cupy/cuda", "cupyx"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("__version__ = '14.0.0'\nndarray = type('ndarray', (), {})\n")
    return tmp_path


def test_programs_find_cudnn(cupy):
    run(INSTALL + INSTALL + PROGRAM, cupy)


def test_programs_find_cudnn_in_cupy_without_a_gpu():
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    run(INSTALL + PROGRAM)


@pytest.mark.parametrize("module", ["cupy/cudnn.py", "cupyx/cudnn.py", "cupy/cuda/cudnn.py"])
def test_where_cupy_has_it_nothing_is_changed(cupy, module):
    (cupy / module).write_text("real = True\n")
    name = module[:-3].replace("/", ".")
    code = f"""
    try:
        from backstride.interop.cudnn import install; install()
    except RuntimeError as error:
        print(error)
    import importlib, sys
    assert importlib.import_module({name!r}).real
    assert not {{"cupy.cudnn", "cupyx.cudnn", "cupy.cuda.cudnn"}} - {{{name!r}}} & sys.modules.keys()
    """
    assert run(textwrap.dedent(code), cupy) == f"install: CuPy 14.0.0 has {name} itself; expected CuPy 14 or later\n"


def test_without_cupy_there_is_nothing_to_do():
    run("sys.modules['cupy'] = None\n" + INSTALL + "assert 'cupy.cudnn' not in sys.modules")
