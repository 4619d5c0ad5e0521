"""The examples that help() shows of what is public beside the operations run as they are printed."""

from __future__ import annotations

import doctest
import inspect

import pytest

import backstride
from backstride import distributed, explanation, layers, models, optim
from backstride.optim import schedules

MODULES = (backstride, layers, models, optim, schedules, explanation, distributed)
PUBLIC = {
    f"{shown.__module__}.{name}": shown
    for module in MODULES
    for name, shown in vars(module).items()
    if not name.startswith("_") and (inspect.isclass(shown) or inspect.isfunction(shown))
}
SHOWN = [name for name, shown in PUBLIC.items() if ">>>" in (shown.__doc__ or "")]


@pytest.mark.parametrize("name", SHOWN)
def test_the_example_runs(name):
    (found,) = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={})
    assert found.examples
    report: list[str] = []
    doctest.DocTestRunner().run(found, out=report.append)
    assert report == []


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_says_what_it_is(module):
    public = [getattr(module, name) for name in getattr(module, "__all__", ()) if name != "__version__"]
    assert [shown.__name__ for shown in public if not inspect.getdoc(shown)] == []


def test_there_are_examples():
    assert {"backstride.layers.base.Layer", "backstride.fold.fold", "backstride.models.resnet.resnet18"} <= set(SHOWN)
