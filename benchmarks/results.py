"""What a run measured, as data: kept as raw samples, so that every figure can be made again from the file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from .. import _files
from .measure import Ceilings, Timing

FORMAT = 1


@dataclass(frozen=True)
class Ratio:
    """Our time over a peer's, round by round: the median and the middle half of the rounds. Below 1 we are faster."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
        pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
        if len(pairs) < 2:
            return cls(pairs[0], pairs[0], pairs[0])
        low, _, high = quantiles(pairs, n=4, method="inclusive")
        return cls(median(pairs), low, high)


@dataclass
class Row:
    """One case. `error` is our accuracy (see conformance.Verdict). `fault`: our result was wrong and was not timed.

    `peers` has the timings of those that were measured, `notes` why another was not.
    """

    suite: str
    shape: str
    source: str
    operation: str
    group: str
    dtype: str
    flops: int
    bytes: int
    error: float = math.nan
    fault: str | None = None
    ours: Timing = field(default_factory=Timing)
    peers: dict[str, Timing] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return median(self.ours.decisive)

    def ratio(self, peer: str) -> Ratio | None:
        """Our time over the peer's; None where either was not timed."""
        if peer not in self.peers or not self.ours.decisive:
            return None
        return Ratio.of(self.ours.decisive, self.peers[peer].decisive)


@dataclass(frozen=True)
class GroupMean:
    """The geometric mean of an operation's ratios over its shapes, and the worst of them."""

    group: str
    shapes: int
    mean: float
    worst: float
    worst_shape: str


@dataclass
class Results:
    """A run. `settings` is what was asked for; `noise` is the first peer's time over its own, by operation."""

    environment: dict[str, Any]
    settings: dict[str, Any]
    peers: dict[str, str]
    missing: dict[str, str]
    ceilings: dict[str, Ceilings] = field(default_factory=dict)
    noise: dict[str, Ratio] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    complete: bool = False

    @property
    def groups(self) -> list[str]:
        """The operations measured, in the order of the rows."""
        return list(dict.fromkeys(row.group for row in self.rows))

    def means(self, peer: str) -> list[GroupMean]:
        """One entry per operation that was timed beside this peer."""
        found = []
        for group in self.groups:
            ratios = [(r.median, row.shape) for row in self.rows if row.group == group and (r := row.ratio(peer))]
            if ratios:
                mean = math.exp(sum(math.log(ratio) for ratio, _ in ratios) / len(ratios))
                found.append(GroupMean(group, len(ratios), mean, *max(ratios)))
        return found

    def _repr_html_(self) -> str:
        from .._html import table
        from .report import headline, mean_lines, row_lines

        return table(mean_lines(self), headline(self)) + table(row_lines(self)) if self.rows else escape(headline(self))

    def save(self, path: str | Path) -> None:
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1)
        _files.save(path, text + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """ValueError where the file is not one that save() wrote."""
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if data.pop("format") != FORMAT:
                raise ValueError("another format")
            data["ceilings"] = {dtype: Ceilings(**c) for dtype, c in data["ceilings"].items()}
            data["noise"] = {group: Ratio(**r) for group, r in data["noise"].items()}
            data["rows"] = [_row(row) for row in data["rows"]]
            return cls(**data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is no results file of backstride bench, format {FORMAT}: {error}") from error


def _row(data: dict[str, Any]) -> Row:
    timings = {"ours": Timing(**data["ours"]), "peers": {name: Timing(**t) for name, t in data["peers"].items()}}
    return Row(**{**data, **timings})
