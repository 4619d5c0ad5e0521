"""Every kernel variant that the launchers choose for a list of shapes, found by dry runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from accuracy import DTYPES, dtype_of

from backstride import use_float32_precision
from backstride.benchmarks.suites import suite_names
from backstride.cli.suite_calls import suite
from backstride.conformance import calls
from backstride.conformance.suite import all_cases
from backstride.kernels import FUNCTIONS
from backstride.kernels.cuda.offline import ahead
from backstride.kernels.cuda.offline.dryrun import Device, Launch
from backstride.kernels.cuda.runtime.loader import source
from backstride.kernels.layout import NHWC
from backstride.kernels.operation import Case, Operation
from backstride.kernels.optim import cuda as optimizers

Key = tuple[str, tuple[tuple[str, str], ...]]
_OF_ARCHITECTURE = ("STAGES", "BLOCKS_PER_SM")

ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
"""For which every variant is compiled; test_gpus compiles a few for the others."""


def _awkward() -> Iterator[tuple[Operation, Case]]:
    for function in FUNCTIONS.values():
        for case in all_cases(function) if function.rank < 3 else ():
            yield function.operation, case


def _layers() -> Iterator[tuple[Operation, Case]]:
    """The operations of the benchmark suites' layers, and with channels last those of the layers whose kernels follow
    from how much there is."""
    for name in suite_names():
        if name != "training":
            for _, operation, case in suite(name, batch=32):
                yield operation, case
    for name in ("norms", "pooling"):
        for _, operation, case in suite(name, batch=32, layout=NHWC):
            yield operation, case


def _optimizers() -> Iterator[Launch]:
    """The kernels of an optimizer's step and norm."""
    for dtype, grad in [(name, name) for name in DTYPES] + [("float16", "float32"), ("bfloat16", "float32")]:
        defines = optimizers.defines(dtype_of(dtype), dtype_of(grad))
        for name, entry in (("sgd.cu", "step"), ("adam.cu", "step"), ("square_sum.cu", "square_sum")):
            yield Launch(source(name, defines), entry, (1,), (optimizers.THREADS,), 0)


def found(device: Device, share: Callable[[int], bool] = lambda number: True) -> dict[Key, Launch]:
    """The variants that every operation, shape and dtype launches, each named without what only the architecture
    decides; or those of a share of the calls, which are numbered."""
    by_key = {(launch.text, ()): launch for number, launch in enumerate(_optimizers()) if share(number)}
    settings = [(name, "auto") for name in DTYPES] + [("float32", "ieee"), ("float32", "tf32")]
    every = itertools.product(settings, (*_awkward(), *_layers()))
    for number, ((dtype, precision), (operation, case)) in enumerate(every):
        if share(number):
            with use_float32_precision(precision):
                arguments = calls.call(operation, case, calls.bare(dtype_of(dtype)))
                for launch in ahead.launches((operation, arguments), device):
                    own = tuple((k, v) for k, v in launch.defines.items() if k not in _OF_ARCHITECTURE)
                    by_key[launch.entry, own] = launch
    return by_key
