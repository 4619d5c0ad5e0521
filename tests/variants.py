"""Every kernel variant that the launchers choose for a list of shapes, found by dry runs on every architecture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

from accuracy import DTYPES, dtype_of

from backstride import use_float32_precision
from backstride.benchmarks.suites import SHAPES, Layer
from backstride.conformance import calls
from backstride.kernels.conv.cases import CONV, CONV_LARGE, CONV_TRANSPOSE
from backstride.kernels.cuda.offline.dryrun import Array, Device, Launch, dry_run
from backstride.kernels.cuda.runtime.gpus import GPUS
from backstride.kernels.dispatch import cuda
from backstride.kernels.linear.cases import LINEAR
from backstride.kernels.operation import Case
from backstride.kernels.pool.cases import AVG_POOL, MAX_POOL

Key = tuple[str, tuple[tuple[str, str], ...]]
_OF_ARCHITECTURE = ("STAGES", "BLOCKS_PER_SM")


def _layers() -> Iterator[tuple[Any, Case]]:
    """The layers of the benchmark suites, each with its family in calls.py."""
    families = {"conv": [calls.conv], "pool": [calls.max_pool, calls.avg_pool], "linear": [calls.linear]}
    for shape in SHAPES:
        for family in families.get(shape.family, ()):
            arguments = Layer.parse(shape.text).arguments(shape.family, shape.batch or 32)
            yield family, Case(shape.text, *arguments)


def _awkward() -> Iterator[tuple[Any, Case]]:
    families = {
        calls.conv: CONV + CONV_LARGE,
        calls.conv_transpose: CONV_TRANSPOSE,
        calls.max_pool: MAX_POOL,
        calls.avg_pool: AVG_POOL,
        calls.linear: [*LINEAR, *(Case(c.name, c.x, c.w, {"batch_axis": 1}) for c in LINEAR)],
    }
    for family, cases in families.items():
        for case in cases:
            yield family, case


def find(device: Device) -> Iterator[tuple[Key, Launch]]:
    """The launches of every operation, shape and dtype, each named without what only the architecture decides."""
    for dtype, precision in [(name, "auto") for name in DTYPES] + [("float32", "ieee"), ("float32", "tf32")]:
        array = partial(Array, dtype=dtype_of(dtype), device=device)
        make = calls.Maker(array, array, taps=lambda x, g: Array(g.y_shape, g.tap_dtype, device))
        with use_float32_precision(precision):
            for family, case in (*_awkward(), *_layers()):
                for operation, arguments in family(case, make):
                    for launch in dry_run(getattr(cuda, operation), arguments, device).launches:
                        own = tuple((k, v) for k, v in launch.defines.items() if k not in _OF_ARCHITECTURE)
                        yield (launch.entry, own), launch


def variants(every_gpu: bool) -> dict[Key, dict[int, Launch]]:
    """Variant -> compute capability -> a launch of it there, in fixed order; for one GPU of each or for all."""
    found: dict[Key, dict[int, Launch]] = defaultdict(dict)
    for gpu in GPUS if every_gpu else {gpu.sm: gpu for gpu in GPUS}.values():
        for key, launch in find(Device(gpu.sm, gpu.multiprocessors)):
            found[key][gpu.sm] = launch
    return dict(sorted(found.items()))
