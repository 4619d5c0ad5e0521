"""The file of tuned choices: JSON, the machine it holds for, and what was measured of each product."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .... import _files
from ...._notices import warn_once
from ...._switch import environment
from ..gemm.tuned import Answer, Answers, Timed
from .machine import Machine, source_digest

VARIABLE = "BACKSTRIDE_TUNE_FILE"

_FORMAT = 2


@dataclass(frozen=True)
class TuneFile:
    machine: Machine
    known: Mapping[str, Answer]

    @classmethod
    def read(cls, path: _files.FilePath) -> TuneFile:
        """OSError where it cannot be read, ValueError where it is no such file."""
        with open(path, encoding="utf-8") as file:
            text = file.read()
        try:
            content = json.loads(text)
            if not isinstance(content, dict) or content.get("format") != _FORMAT:
                raise ValueError(f"expected an object with format {_FORMAT}")
            return cls(Machine.named(content["machine"]), {k: _answer(v) for k, v in content["products"].items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{os.fspath(path)} is no file of tuned choices: {error!r}") from error

    def write(self, path: _files.FilePath) -> None:
        """In one step; OSError, and the old file stays, where it cannot be written."""
        products = {text: _entry(answer) for text, answer in sorted(self.known.items())}
        content = {"format": _FORMAT, "machine": asdict(self.machine), "products": products}
        _files.save(path, json.dumps(content, indent=1) + "\n")


def _entry(answer: Answer) -> dict[str, Any]:
    timings = [{**timed.configuration, "seconds": timed.seconds} for timed in answer.timings]
    return {"any_bits": answer.any_bits, "timings": timings}


def _answer(entry: dict[str, Any]) -> Answer:
    timings = []
    for timing in entry["timings"]:
        configuration = dict(timing)
        timings.append(Timed(configuration, float(configuration.pop("seconds"))))
    if not timings:
        raise ValueError("a product without timings")
    return Answer(tuple(timings), bool(entry["any_bits"]))


def of_environment(on_device: bool) -> Answers:
    """What the file of BACKSTRIDE_TUNE_FILE says; nothing, with one line of why, where it does not hold here, or where
    calls are only planned, for these sources: their device is part of each question."""
    path = environment(VARIABLE)
    if path is None:
        return Answers({})
    try:
        found = TuneFile.read(path)
    except (OSError, ValueError) as error:
        warn_once(f"{VARIABLE} is passed over: {error}")
        return Answers({})
    reason = found.machine.difference(Machine.here() if on_device else replace(found.machine, source=source_digest()))
    if reason is not None:
        warn_once(f"{VARIABLE}: {path} is passed over: it was measured with {reason}")
        return Answers({})
    return Answers(found.known)
