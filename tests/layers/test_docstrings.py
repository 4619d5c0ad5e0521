"""The examples that help() shows of layers, models and fold run as they are printed."""

from __future__ import annotations

import doctest

import pytest

import backstride
from backstride import layers, models


@pytest.mark.parametrize("shown", [layers.Layer, backstride.fold, models.resnet18], ids=lambda shown: shown.__name__)
def test_the_example_runs(shown):
    (found,) = doctest.DocTestFinder(recurse=False).find(shown, globs={})
    assert found.examples
    report: list[str] = []
    doctest.DocTestRunner().run(found, out=report.append)
    assert report == []
