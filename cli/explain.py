"""Walk through the backpropagation of a convolution, a max pooling and a fully connected layer: every shape and
formula, and each gradient beside finite differences in float64."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._extras import needed_for
from ..explanation import Explanation, Gradient, Step, Terms, Verdict
from ..layers import Conv2d, Linear, MaxPool2d, Sequential
from .arguments import add_backend, natural, select_backend, writable_file
from .errors import CommandError, write

if TYPE_CHECKING:
    from rich.table import Table

HELP = "the backpropagation of a network, gradient by gradient, beside finite differences"

INPUT_SHAPE = (10, 3, 29, 28)
SEED = 9
"""With it some products of the example conv.dx[0,1,4,6] are not 0: a maximum of the pooling stood there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    unset = argparse.SUPPRESS
    add_backend(parser)
    parser.add_argument("--seed", type=natural, default=SEED, metavar="N", help="of the random weights and input")
    parser.add_argument(
        "--markdown",
        type=_output,
        nargs="?",
        const=None,
        default=unset,
        metavar="FILE",
        help="write a Markdown document, to FILE or else to the standard output",
    )
    parser.add_argument(
        "--html",
        type=_output,
        default=unset,
        metavar="FILE",
        help="write a page to click through, one file that needs no network; - for the standard output",
    )
    parser.add_argument(
        "--term",
        nargs=2,
        default=unset,
        metavar=("GRADIENT", "INDEX"),
        help="list every product that adds up to one element, such as: conv.dx 0,1,4,6",
    )


def _output(text: str) -> Path | None:
    return None if text == "-" else writable_file(text)


def run(arguments: argparse.Namespace) -> int:
    """Exit status: 0, or 1 where a gradient disagrees with finite differences."""
    select_backend(arguments)
    explanation = Explanation(_network(arguments.seed), INPUT_SHAPE, arguments.seed)
    if "term" in arguments:
        print(_listed(_terms(explanation, *arguments.term)))
        return 0
    if "html" in arguments or "markdown" in arguments:
        explanation.measure_all()
        if "markdown" in arguments:
            _write(explanation.to_markdown(), arguments.markdown)
        if "html" in arguments:
            _write(explanation.to_html(), arguments.html)
    else:
        _show_live(explanation)
    if explanation.agrees:
        return 0
    print("backstride: a gradient disagrees with finite differences", file=sys.stderr)
    return 1


def _network(seed: int) -> Sequential:
    """The network of the textbook page, its weights rounded to two decimals so that products can be followed."""
    rng = np.random.default_rng(seed)
    net = Sequential(
        Conv2d(3, 2, (3, 2), stride=2, dtype="float64", rng=rng),
        MaxPool2d(2, stride=3),
        Linear(50, 32, batch_axis=1, dtype="float64", rng=rng),
    )
    for parameter in net.parameters():
        parameter.data = parameter.data.round(2) + 0.0  # without -0
    return net


def _write(text: str, path: Path | None) -> None:
    if path is None:
        print(text, end="")
    else:
        write(path, text)
        print(f"wrote {path.resolve()}")


def _terms(explanation: Explanation, name: str, index: str) -> Terms:
    try:
        numbers = tuple(int(part) for part in index.split(","))
    except ValueError:
        raise CommandError(f"argument --term: {index!r} is no index; expected numbers such as 0,1,4,6") from None
    try:
        return explanation.term(name, numbers)
    except ValueError as error:
        raise CommandError(f"argument --term: {error}") from error


def _listed(terms: Terms) -> str:
    """One line a product, in columns, then the sum beside what the kernel computed."""
    rows = []
    for term in terms.terms:
        names, values = zip(*term.factors, strict=True)
        sign = "-" if term.sign < 0 else ""
        shown = " × ".join(f"{value:10.6g}" for value in values)
        rows.append((f"{sign}{' · '.join(names)}", f"{sign}{shown}", f"{term.value + 0.0:13.8g}"))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = [f"{name:<{widths[0]}}  =  {values:>{widths[1]}}  =  {value:>{widths[2]}}" for name, values, value in rows]
    element = f"{terms.name}[{','.join(map(str, terms.index))}]"
    count = (
        f"no products: {terms.why_none}" if not rows else "1 product" if len(rows) == 1 else f"{len(rows):,} products"
    )
    return "\n".join(
        [
            f"{element}: {count}",
            *lines,
            f"their sum            {terms.total!r}",
            f"the kernel computed  {terms.computed!r}",
            f"difference           {abs(terms.total - terms.computed):.1e}",
        ]
    )


def _show_live(explanation: Explanation) -> None:
    with needed_for("backstride explain"):
        from rich.console import Console
        from rich.live import Live
    console = Console(highlight=False)
    if not console.is_terminal:
        explanation.measure_all()
        console.print(_table(explanation))
        return
    with Live(_table(explanation), console=console) as live:
        for _ in explanation.measure():
            live.update(_table(explanation), refresh=True)


def _table(explanation: Explanation) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    title, caption = "Backpropagation of L = Σ G · Y for a random G", "dY stands for ∂L/∂Y, and so on"
    table = Table(title=title, caption=caption, box=SIMPLE)
    table.add_column("", style="bold", no_wrap=True)
    table.add_column("formula", ratio=1, overflow="fold")
    table.add_column("shape", no_wrap=True)
    table.add_column("from finite\ndifferences", justify="right", no_wrap=True)
    for step in explanation.steps:
        for row in _rows(step):
            table.add_row(*row)
        table.add_section()
    return table


def _rows(step: Step) -> list[tuple[Any, ...]]:
    from rich.text import Text

    facts = dict(step.facts())
    output = facts.pop("output")
    return [
        (Text(step.name, style="bold cyan"), Text(repr(step.layer), style="cyan"), "", ""),
        *((Text(label, style="dim"), "", text, "") for label, text in facts.items()),
        (Text("output", style="dim"), Text(step.formulas.forward), output, ""),
        (Text("dY", style="dim"), Text("arrives from the layer after"), str(step.dy.shape), ""),
        *map(_gradient, step.gradients),
    ]


def _gradient(gradient: Gradient) -> tuple[Any, ...]:
    from rich.text import Text

    styles = {Verdict.AGREES: "green", Verdict.DISAGREES: "bold red", Verdict.CANNOT_TELL: "yellow", None: "dim"}
    text = "cannot tell" if gradient.verdict is Verdict.CANNOT_TELL else gradient.measured or "..."
    return gradient.name, Text(gradient.formula), str(gradient.shape), Text(text, style=styles[gradient.verdict])
