"""Showing these functions to programs that import cupy.cudnn and cannot be edited."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from ...backend import import_cupy
from . import library


def install() -> None:
    """Let `from cupy import cudnn`, `import cupyx.cudnn` and `cupy.cuda.cudnn` find backstride.interop.cudnn.

    To be called before the program that asks for them is imported. cupy.cuda.cudnn holds cuDNN's constants and
    getVersion(). A second call changes nothing; without CuPy there is nothing to do.
    Raises RuntimeError where CuPy has these modules itself, as it had before version 14.

    >>> install()
    """
    try:
        cupy = import_cupy()
    except ImportError:
        return
    functions = sys.modules[__package__]
    modules = {"cupy.cudnn": functions, "cupyx.cudnn": functions, "cupy.cuda.cudnn": library}
    for name, module in modules.items():
        if _exists_besides(name, module):
            raise RuntimeError(f"install: CuPy {cupy.__version__} has {name} itself; expected CuPy 14 or later")
    for name, module in modules.items():
        package, _, attribute = name.rpartition(".")
        setattr(import_module(package), attribute, module)
        sys.modules[name] = module


def _exists_besides(name: str, module: ModuleType) -> bool:
    found = sys.modules.get(name)
    return find_spec(name) is not None if found is None else found is not module
