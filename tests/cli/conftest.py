from __future__ import annotations

import pytest

import backstride


@pytest.fixture
def on_numpy(monkeypatch):
    """Whatever this machine has, and with the backend that was in force before each test put back after it."""
    monkeypatch.setenv("BACKSTRIDE_BACKEND", "numpy")
    monkeypatch.setattr(backstride.backend._switch, "_process", None)
