"""What help() says of a public function stands alone, and its example runs as it is printed."""

from __future__ import annotations

import doctest
import inspect
from typing import Any, get_type_hints

import pytest

from backstride import kernels

FUNCTIONS = {name: getattr(kernels, name) for name in kernels.FUNCTIONS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_runs(name: str) -> None:
    (found,) = doctest.DocTestFinder(recurse=False).find(FUNCTIONS[name], name, globs=vars(kernels).copy())
    assert found.examples
    report: list[str] = []
    doctest.DocTestRunner().run(found, out=report.append)
    assert report == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_results_and_errors_are_named(name: str) -> None:
    text = inspect.getdoc(FUNCTIONS[name])
    assert "ValueError" in text
    assert "TypeError" in text
    for parameter in inspect.signature(FUNCTIONS[name]).parameters:
        assert parameter in text or parameter == "b"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_argument_is_of_any_type(name: str) -> None:
    hints = get_type_hints(FUNCTIONS[name])
    hints.pop("return")
    assert hints
    assert Any not in hints.values()
