"""How Sphinx builds these pages, from this folder's Markdown and the docstrings of the installed package."""

from __future__ import annotations

import re
from typing import Any

from backstride import __version__

project = "backstride"
author = "the backstride authors"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"backstride {version}"
templates_path: list[str] = []
autodoc_member_order = "groupwise"
autodoc_typehints = "none"
autodoc_mock_imports = ["torch"]
autodoc_default_options = {"members": True}

BEGINS = re.compile(r"(\w+(, \w+)*: |Returns |Raises |Arrays )")
"""A line of a docstring that begins with what it speaks of: a paragraph of its own on a page."""


def marked_up(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text, written to be read by help(): what reStructuredText would take for markup is escaped,
    what is indented stays as it is, and so do examples."""
    found, example = [], False
    for line in lines:
        example = line.startswith(">>>") or (example and bool(line))
        if example:
            found.append(line)
        elif line.startswith(" "):
            found += ["", f"| {_escaped(line.strip())}", ""]
        else:
            found += ["", _escaped(line)] if BEGINS.match(line) else [_escaped(line)]
    lines[:] = found


def _escaped(line: str) -> str:
    return re.sub(r"([\\*`|_])", r"\\\1", line)


def setup(app: Any) -> None:
    app.connect("autodoc-process-docstring", marked_up)
