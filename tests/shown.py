"""What a page of Markdown shows to be typed."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from backstride import cli

TREE = Path(os.environ.get("BACKSTRIDE_TREE", Path(__file__).parents[1]))


def page(name: str) -> str:
    return (TREE / name).read_text(encoding="utf-8")


def python(text: str) -> list[str]:
    return _blocks(text, "python")


def commands(text: str) -> list[str]:
    return [line for block in _blocks(text, "") for line in re.findall(r"^backstride .*", block, re.MULTILINE)]


def _blocks(text: str, language: str) -> list[str]:
    fenced = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE)
    return [block for of, block in fenced if of == language]


def assert_is_a_command(line: str, folder: Path) -> None:
    """The command line takes it. The folder, the current one, gets the files that lines before have written."""
    for file in ("before.json", "after.json", "net.shapes", "run.safetensors"):
        (folder / file).touch()
    _, *words = shlex.split(line, comments=True)
    assert cli._parser().parse_args(words).command == words[0]
