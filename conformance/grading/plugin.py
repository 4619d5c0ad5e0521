"""The grader as pytest's tests: one for each function and idea, and a summary of the ideas that are missing."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .functions import GRADED, Graded
from .grader import Grader
from .ideas import IDEAS

PROPERTY = "backstride"


class Plugin:
    def __init__(self, file: Path) -> None:
        self.file = file
        sys.path.insert(0, str(file.parent))

    @pytest.hookimpl(tryfirst=True)
    def pytest_pycollect_makemodule(self, module_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return Candidate.from_parent(parent, path=module_path) if module_path == self.file else None

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        reports = [report for kind in ("passed", "failed", "skipped") for report in terminalreporter.getreports(kind)]
        properties = [dict(report.user_properties).get(PROPERTY) for report in reports if report.when == "call"]
        _summarise(terminalreporter, self.file.name, [each for each in properties if each])


class Candidate(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        grader = Grader(self.path)
        if not grader.graded:
            names = ", ".join(each.name for each in GRADED)
            raise self.CollectError(f"{self.path.name} has none of the functions that are graded: {names}")
        for graded in grader.graded:
            for idea in graded.ideas:
                yield Test.from_parent(self, name=f"{graded.name}[{idea}]", grader=grader, graded=graded, idea=idea)
        for name in grader.absent:
            yield Absent.from_parent(self, name=name)


class Test(pytest.Item):
    """One idea of one function."""

    def __init__(self, *, grader: Grader, graded: Graded, idea: str, **others: Any) -> None:
        super().__init__(**others)
        self.grader, self.graded, self.idea = grader, graded, idea

    def runtest(self) -> None:
        verdict = self.grader.verdict(self.graded, self.idea)
        self.user_properties.append((PROPERTY, [self.graded.name, self.idea, verdict.state, verdict.text]))
        if verdict.state == "open":
            pytest.skip(verdict.text)
        if verdict.state == "missing":
            pytest.fail(f"{self.idea}: {IDEAS[self.idea]}\n{verdict.text}", pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


class Absent(pytest.Item):
    """A function that the file has not."""

    def runtest(self) -> None:
        self.user_properties.append((PROPERTY, [self.name, "", "absent", ""]))
        pytest.skip(f"{self.path.name} has no {self.name}")

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


def _summarise(terminal: Any, file: str, verdicts: list[list[str]]) -> None:
    """verdicts: function, idea, state and text, in any order (pytest-xdist's)."""
    by_state: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for function, idea, state, text in verdicts:
        by_state[state].append((function, idea, text))
    terminal.section(f"backstride: {file}")
    for idea, sentence in IDEAS.items():
        found = [(function, text) for function, of, text in by_state["missing"] if of == idea]
        if found:
            terminal.line(f"missing: {idea} - {sentence}", red=True)
            for _, text in found:
                terminal.line(f"    {text}")
    for text, number in Counter(text for _, _, text in by_state["open"]).items():
        terminal.line(f"{number} not judged: {text}")
    if by_state["absent"]:
        terminal.line(f"not there: {', '.join(function for function, _, _ in by_state['absent'])}")
    judged = len(verdicts) - len(by_state["absent"])
    terminal.line(f"{len(by_state['held'])} of {judged} marks")
