"""Faults planted in the project's own kernels, which the emulator must catch: a file for each kind of kernel."""

import importlib
import pkgutil

_FILES = [importlib.import_module(f"{__name__}.{file.name}") for file in pkgutil.iter_modules(__path__)]

PLANTED = {name: planted for file in _FILES for name, planted in getattr(file, "PLANTED", {}).items()}
"""By what the kernels are for."""
