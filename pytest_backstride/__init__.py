"""pytest's plugin: `pytest --backstride-candidate my_conv.py` grades a student's functions, and runs no other test.

pytest imports this in every run, so it imports nothing but pytest until the option is given.
"""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("backstride").addoption(
        "--backstride-candidate",
        metavar="FILE",
        help="grade the functions of FILE that have public names of backstride.kernels (conv2d, max_pool2d_grad, "
        "linear, ...) and say which idea is missing; no other test runs",
    )


def pytest_configure(config: pytest.Config) -> None:
    if (name := config.getoption("--backstride-candidate")) is None:
        return
    file = Path(name).resolve()
    if not file.is_file():
        raise pytest.UsageError(f"--backstride-candidate: there is no file {name}")
    from backstride.conformance.grading.plugin import Plugin

    config.args = [str(file)]
    config.pluginmanager.register(Plugin(file), "backstride-grading")
