"""The two CuPys that tests of whole arrays run on: the emulator's, and the real one where there is a GPU."""

from __future__ import annotations

import contextlib

import emulator
import pytest

import backstride
from backstride import backend


@contextlib.contextmanager
def emulated(monkeypatch):
    """The emulator's CuPy; its wait count may not rise but where the test lets it."""
    monkeypatch.setattr(backend, "probe_cupy", lambda: backend.Probe(None, "emulated", ""))
    with emulator.installed() as cupy, backstride.use_backend("cupy"):
        yield cupy


@contextlib.contextmanager
def real(monkeypatch):
    if backend.probe_cupy().failed is not None:
        pytest.skip(f"no GPU here: {backend.probe_cupy().reason}")
    with backstride.use_backend("cupy"):
        yield backend.import_cupy()


@contextlib.contextmanager
def no_waiting():
    """The emulator counts how often the host waits for a device; a real one does not tell."""
    before = emulator.synchronisations()
    yield
    assert emulator.synchronisations() == before, "the host waited for the device"
