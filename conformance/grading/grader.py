"""Runs a student's functions on the questions and says which ideas they hold."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .difference import difference
from .functions import GRADED, Arguments, Graded
from .ideas import Question

MODULE = "backstride_candidate"


@dataclass(frozen=True)
class Verdict:
    """state: "held", "missing", or "open" where the calls rest on ideas that are missing. text: what was seen."""

    state: str
    text: str = ""


class Fault(Exception):
    """What is wrong with an answer."""


class Grader:
    """A file with a student's functions. Raises whatever its import raises."""

    def __init__(self, file: Path) -> None:
        self.file = file.resolve()
        self._code = compile(self.file.read_bytes(), str(self.file), "exec")
        self._known: dict[tuple[str, str], Verdict] = {}
        module = self._fresh()
        self.graded = [each for each in GRADED if callable(getattr(module, each.name, None))]
        self.absent = [each.name for each in GRADED if each not in self.graded]

    def verdict(self, graded: Graded, idea: str) -> Verdict:
        """Missing where one of the idea's questions is answered wrongly, open where one could not be asked."""
        key = (graded.name, idea)
        if key not in self._known:
            found = [self._answered(graded, each) for each in graded.questions if each.idea == idea]
            self._known[key] = min(found, key=lambda verdict: ("missing", "open", "held").index(verdict.state))
        return self._known[key]

    def _answered(self, graded: Graded, question: Question) -> Verdict:
        lacking = [
            idea for idea in graded.ideas if idea in question.rests_on and self.verdict(graded, idea).state != "held"
        ]
        if "taps" in graded.takes:  # a gradient is judged with what the forward call keeps for it
            forward = (each for each in self.graded if each.name == "max_pool2d" and question.idea in each.ideas)
            lacking += [each.name for each in forward if self.verdict(each, question.idea).state != "held"]
        if lacking:
            return Verdict("open", f"rests on: {', '.join(lacking)}")
        module = self._fresh()  # which nothing has called before
        series = (0, 1) if question.idea == "calls" else (0,)
        try:
            with self._faults("max_pool2d"):
                given = [graded.arguments(question, getattr(module, "max_pool2d", None), each) for each in series]
        except Fault as fault:
            return Verdict("open", str(fault))
        try:
            first = self._call(module, graded, question, given[0], 0)
            if question.idea == "calls":
                self._call_again(module, graded, question, given, first)
        except Fault as fault:
            return Verdict("missing", str(fault))
        return Verdict("held")

    def _call_again(
        self, module: ModuleType, graded: Graded, question: Question, given: list[Arguments], first: Any
    ) -> None:
        """With other numbers; inputs and the first result stay as they were."""
        kept = np.array(first)
        try:
            self._call(module, graded, question, given[1], 1)
        except Fault as fault:
            raise Fault(f"right when it is called first, but then, with other numbers: {fault}") from None
        if not np.array_equal(kept, first):
            raise Fault(f"{graded.name} overwrites what it returned before")
        for name, before in graded.arguments(question, None, 1).items():
            if isinstance(before, np.ndarray) and name != "taps" and not np.array_equal(before, given[1][name]):
                raise Fault(f"{graded.name} changes its input {name}")

    def _call(self, module: ModuleType, graded: Graded, question: Question, arguments: Arguments, series: int) -> Any:
        """The result. Raises Fault where it is not the definition's."""
        options, call = graded.options(question), graded.call_text(question)
        with self._faults(call):
            result = graded.output(getattr(module, graded.name)(*arguments.values(), **options))
        expected = graded.output(graded.definition(*graded.arguments(question, None, series).values(), **options))
        found = difference(result, expected, by_element=graded.name.endswith("bias_grad"))
        if found is not None:
            raise Fault(f"{call}: {found}")
        return result

    @contextmanager
    def _faults(self, call: str) -> Iterator[None]:
        """Whatever the student's code raises is a Fault that says where."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except Exception as error:
            lines = [
                each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == str(self.file)
            ]
            where = f" ({self.file.name}, line {lines[-1]})" if lines else ""
            raise Fault(f"{call} raises {type(error).__name__}: {error}{where}") from error

    def _fresh(self) -> ModuleType:
        """The file as a module, as if neither it nor modules beside it were ever imported."""
        folder = str(self.file.parent)
        for name, module in list(sys.modules.items()):
            beside = os.path.dirname(getattr(module, "__file__", None) or "") == folder
            if beside and "." not in name and not hasattr(module, "__path__"):
                del sys.modules[name]
        module = sys.modules[MODULE] = ModuleType(MODULE)
        module.__file__ = str(self.file)
        exec(self._code, vars(module))
        return module
