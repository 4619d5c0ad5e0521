"""What help() says of a function of interop.cudnn stands alone, and its example runs as it is printed."""

from __future__ import annotations

import doctest
import inspect

import pytest

from backstride.interop import cudnn

FUNCTIONS = {name: getattr(cudnn, name) for name in cudnn.__all__ if inspect.isfunction(getattr(cudnn, name))}


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "size" not in name and "available" not in name])
def test_the_example_runs(name):
    (found,) = doctest.DocTestFinder(recurse=False).find(FUNCTIONS[name], name, globs=vars(cudnn).copy())
    assert found.examples
    report: list[str] = []
    doctest.DocTestRunner().run(found, out=report.append)
    assert report == []


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if "_forward" in name or "_backward" in name])
def test_arguments_and_errors_are_named(name):
    text = inspect.getdoc(FUNCTIONS[name])
    assert "ValueError" in text
    assert "TypeError" in text
    for parameter in inspect.signature(FUNCTIONS[name]).parameters:
        assert parameter in text
