"""A run as one HTML page that needs nothing beside it: the tables, the picture, the environment."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape

from .._html import table
from . import plots
from .report import caveats, headline, legend, mean_lines, remarks, row_lines
from .results import Results

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .7rem; text-align: right; white-space: nowrap; }
th { border-bottom: 2px solid #999; }
td:first-child, th:first-child { text-align: left; }
tr.heading td { font-weight: bold; padding-top: .8rem; }
.green { color: #187018; } .red { color: #b02020; }
img { max-width: 100%; }
"""


def page(results: Results) -> str:
    """The HTML text."""
    title = escape(headline(results))
    image = base64.b64encode(plots.drawn(results)).decode()
    environment = {k: v for k, v in results.environment.items() if v}
    return "\n".join(
        [
            f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{title}</title>",
            f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head><body>",
            f"<h1>{title}</h1><p>Reproduce with <code>{escape(results.settings['command'])}</code></p>",
            _paragraphs([*caveats(results), *legend(results)]),
            "<h2>Geometric means</h2>",
            table(mean_lines(results)),
            f"<img alt='Roofline and ratios' src='data:image/png;base64,{image}'>",
            "<h2>Every shape</h2>",
            table(row_lines(results)),
            _paragraphs(remarks(results)),
            "<h2>Environment</h2>",
            table([{"": key, "value": _value(value)} for key, value in environment.items()]),
            "</body></html>\n",
        ]
    )


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {entry}" for key, entry in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _paragraphs(lines: Iterable[str]) -> str:
    return "<p>" + "<br>".join(map(escape, lines)) + "</p>"
