"""How long data-parallel steps would take on other machines: an estimate, from the buckets of one backward and the
latency and bandwidth of the links.

    python -m backstride.distributed.simulate --model resnet50 --compute-ms 60 --processes 8 64 512

Where a bucket's gradients are complete is recorded here, in one forward and backward; --compute-ms says how long these
two take on the machine in question. Each bucket is exchanged as soon as it is complete and the one before it is
through, by recursive halving and doubling, in which the nearest partners are inside a node. Left out are links that
processes share, what the exchange takes away from computing, its additions, and the wait for the slowest process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import asarray, synchronize
from ..layers import CrossEntropyLoss, Layer
from ..layers.shard import computing
from .buckets import buckets


@dataclass(frozen=True)
class Link:
    """latency: seconds before the first byte arrives. bandwidth: bytes a second, which each process has in both
    directions at once."""

    latency: float
    bandwidth: float


@dataclass(frozen=True)
class Cluster:
    """processes: a power of two, and per_node too. inside, between: the links inside a node and between nodes."""

    processes: int
    per_node: int
    inside: Link
    between: Link

    def exchange(self, size: float) -> float:
        """Seconds in which `size` bytes are added up over all processes: halving and doubling at distance 1, 2, 4, ...,
        with a half, a quarter, an eighth, ... of the bytes."""
        seconds, distance = 0.0, 1
        while distance < self.processes:
            link, size = self.inside if distance < self.per_node else self.between, size / 2
            seconds += 2 * (link.latency + size / link.bandwidth)
            distance *= 2
        return seconds


@dataclass(frozen=True)
class Schedule:
    """One forward and backward. seconds: of both. buckets: in the order in which they are exchanged, for each the
    seconds after which its gradients are complete, and its bytes."""

    seconds: float
    buckets: tuple[tuple[float, int], ...]

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.buckets)

    def lasting(self, seconds: float) -> Schedule:
        """The same, slower or faster."""
        factor = seconds / self.seconds
        return replace(self, seconds=seconds, buckets=tuple((ready * factor, size) for ready, size in self.buckets))

    def on(self, cluster: Cluster, overlaps: bool = True) -> float:
        """Seconds until all gradients are added up. overlaps: whether that begins before the end of backward."""
        free = 0.0
        for ready, size in self.buckets:
            free = max(free, ready if overlaps else self.seconds) + cluster.exchange(size)
        return max(free, self.seconds)


class _Finished:
    """A shard that notes when the layers of Sequentials have had their backward."""

    number, step, weight = 0, 0, 1.0

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}

    def call(self, layer: Layer) -> int:
        return 0

    def add_statistics(self, layer: Layer, mean: Any, var: Any) -> None:
        pass

    def total(self, layer: Layer, array: Any) -> Any:
        return array

    def has_finished(self, layer: Layer) -> None:
        synchronize()
        for parameter in layer.parameters():
            self.seconds.setdefault(id(parameter), time.perf_counter())


def record(net: Layer, x: Any, labels: Any) -> Schedule:
    """The schedule of net on a batch, measured in one forward and backward after another that is not."""
    loss, finished = CrossEntropyLoss(), _Finished()
    for _ in range(2):
        finished.seconds.clear()
        synchronize()
        begun = time.perf_counter()
        with computing(finished):
            loss(net(x), labels)
            net.backward(loss.backward(), needs_input_grad=False)
        synchronize()
        ended = time.perf_counter()
    found = []
    for bucket in buckets(list(net.parameters())):
        ready = max(finished.seconds.get(id(parameter), ended) for parameter in bucket.parameters)
        found.append((ready - begun, bucket.size * bucket.dtype.itemsize))
    return Schedule(ended - begun, tuple(found))


def table(schedule: Schedule, clusters: Sequence[Cluster]) -> str:
    """A line for each cluster; efficiency is the share of computing in a step."""
    lines = ["processes   sent by each   exchange   step      efficiency   step without overlap"]
    for cluster in clusters:
        sent = 2 * (cluster.processes - 1) / cluster.processes * schedule.bytes
        exchange = sum(cluster.exchange(size) for _, size in schedule.buckets)
        step, apart = schedule.on(cluster), schedule.on(cluster, overlaps=False)
        lines.append(
            f"{cluster.processes:9}   {sent / 1e6:9.1f} MB   {_ms(exchange)}   {_ms(step)}   "
            f"{schedule.seconds / step:9.1%}   {_ms(apart)} ({schedule.seconds / apart:.1%})"
        )
    return "\n".join(lines)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:5.1f} ms"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    from .. import models
    from ..cli.arguments import positive_float, positive_int, power_of_two

    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m backstride.distributed.simulate", None, __doc__, formatter_class=shown)
    add = parser.add_argument
    add("--model", choices=[name for name in models.__all__ if name != "unet"], default="resnet50")
    add("--image-size", type=positive_int, default=224, metavar="N")
    add("--batch-size", type=positive_int, default=2, metavar="N", help="images of what is recorded (default: 2)")
    add("--compute-ms", type=positive_float, metavar="MS", help="of forward and backward (default: as recorded here)")
    add("--processes", type=power_of_two, nargs="+", default=[8, 64, 512], metavar="N")
    add("--per-node", type=power_of_two, default=8, metavar="N", help="processes of a node (default: 8)")
    for name, latency, bandwidth in (("inside", 5.0, 200.0), ("between", 15.0, 25.0)):
        us, gb = f"latency {name} nodes (default: {latency:g})", f"10^9 bytes a second (default: {bandwidth:g})"
        add(f"--{name}-us", type=positive_float, default=latency, metavar="US", help=us)
        add(f"--{name}-gb", type=positive_float, default=bandwidth, metavar="GB", help=gb)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    from .. import models

    given = _arguments(argv)
    net = getattr(models, given.model)(rng=0)
    size = given.image_size
    images = np.random.default_rng(0).random((given.batch_size, 3, size, size), np.float32)
    schedule = record(net, asarray(images), asarray(np.zeros(given.batch_size, np.int64)))
    if given.compute_ms is not None:
        schedule = schedule.lasting(given.compute_ms / 1e3)
    inside = Link(given.inside_us / 1e6, given.inside_gb * 1e9)
    between = Link(given.between_us / 1e6, given.between_gb * 1e9)
    print(table(schedule, [Cluster(number, given.per_node, inside, between) for number in given.processes]))


if __name__ == "__main__":
    main()
