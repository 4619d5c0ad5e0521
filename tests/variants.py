"""Every kernel variant that the launchers choose for a list of shapes, found by dry runs on every architecture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from accuracy import DTYPES, dtype_of

from backstride import use_float32_precision
from backstride.benchmarks.suites import suite_names
from backstride.cli.suite_calls import suite
from backstride.conformance import calls
from backstride.conformance.suite import all_cases
from backstride.kernels import FUNCTIONS
from backstride.kernels.cuda.offline import ahead
from backstride.kernels.cuda.offline.dryrun import Device, Launch
from backstride.kernels.cuda.runtime.gpus import GPUS
from backstride.kernels.cuda.runtime.loader import source
from backstride.kernels.operation import Case, Operation
from backstride.kernels.optim import cuda as optimizers

Key = tuple[str, tuple[tuple[str, str], ...]]
_OF_ARCHITECTURE = ("STAGES", "BLOCKS_PER_SM")

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
"""For which every variant is compiled; test_gpus compiles a few for the others."""


def _layers() -> Iterator[tuple[Operation, Case]]:
    """The operations of the benchmark suites' layers."""
    for name in suite_names():
        if name != "training":
            for _, operation, case in suite(name, batch=32):
                yield operation, case


def _awkward() -> Iterator[tuple[Operation, Case]]:
    for function in FUNCTIONS.values():
        for case in all_cases(function) if function.rank < 3 else ():
            yield function.operation, case


def _optimizers() -> Iterator[Launch]:
    """The kernels of an optimizer's step and norm."""
    for dtype, grad in [(name, name) for name in DTYPES] + [("float16", "float32"), ("bfloat16", "float32")]:
        defines = optimizers.defines(dtype_of(dtype), dtype_of(grad))
        for name, entry in (("sgd.cu", "step"), ("adam.cu", "step"), ("square_sum.cu", "square_sum")):
            yield Launch(source(name, defines), entry, (1,), (optimizers.THREADS,), 0)


def find(device: Device) -> Iterator[tuple[Key, Launch]]:
    """The launches of every operation, shape and dtype, each named without what only the architecture decides."""
    for launch in _optimizers():
        yield (launch.text, ()), launch
    for dtype, precision in [(name, "auto") for name in DTYPES] + [("float32", "ieee"), ("float32", "tf32")]:
        make = calls.bare(dtype_of(dtype))
        with use_float32_precision(precision):
            for operation, case in (*_awkward(), *_layers()):
                for launch in ahead.launches((operation, calls.call(operation, case, make)), device):
                    own = tuple((k, v) for k, v in launch.defines.items() if k not in _OF_ARCHITECTURE)
                    yield (launch.entry, own), launch


def variants(every_gpu: bool) -> dict[Key, dict[int, Launch]]:
    """Variant -> compute capability -> a launch of it there, in fixed order; for one GPU of each or for all."""
    found: dict[Key, dict[int, Launch]] = defaultdict(dict)
    gpus = [gpu for gpu in GPUS if gpu.sm in ARCHITECTURES]
    for gpu in gpus if every_gpu else {gpu.sm: gpu for gpu in gpus}.values():
        for key, launch in find(Device(gpu.sm, gpu.multiprocessors)):
            found[key][gpu.sm] = launch
    return dict(sorted(found.items()))
