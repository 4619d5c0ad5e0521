"""What a call will do on a GPU: its kernels with their resources, the least that any implementation must do, and how
long it will take by the model that chooses the kernels (gemm/cost.py). None of it was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...._html import table
from ...operation import CUDA, Operation, function_of, implementation
from ..gemm import cost
from ..gemm.choice import candidates, model_architecture
from ..gemm.configuration import Architecture, Configuration
from ..gemm.cost import LAUNCH_SECONDS
from ..gemm.tuned import Estimates, Question
from ..runtime.answers import of_process
from ..runtime.gpus import Gpu
from . import ptxas
from .dryrun import Device, Launch, dry_run
from .occupancy import blocks_per_sm
from .ptxas import Usage

ATTAINABLE_BANDWIDTH = 0.9
"""Of the published one, by a plain copy: 4.3 of an H200's 4.8 TB/s, as others measured."""

_HELPERS = ("pack_weights", "pack_class_weights", "split_sum")


@dataclass(frozen=True)
class KernelPlan:
    """One kernel launch on one GPU. Without a compiler `usage`, and what follows from it, is None.

    configuration: of a matrix product, else None.
    """

    launch: Launch
    gpu: Gpu
    usage: Usage | None
    configuration: Configuration | None

    @property
    def shared_bytes(self) -> int:
        """Dynamic and static shared memory of a block."""
        return self.launch.shared_bytes + (self.usage.static_shared_bytes if self.usage else 0)

    @property
    def blocks_per_sm(self) -> int | None:
        if self.usage is None:
            return None
        return blocks_per_sm(self.gpu.sm, self.launch.threads, self.usage.registers, self.shared_bytes)

    @property
    def waves(self) -> float | None:
        """How often all SMs are filled with blocks, the last time perhaps in part."""
        resident = self.blocks_per_sm
        return None if not resident else self.launch.blocks / (resident * self.gpu.multiprocessors)


@dataclass(frozen=True)
class CallPlan:
    """One call. Least bytes: every input read once and every output written once."""

    operation: str
    dtype: str
    precision: str
    gpu: Gpu
    kernels: tuple[KernelPlan, ...]
    questions: tuple[Question, ...]
    workspace_bytes: int
    flops: int
    least_bytes: int
    peak: float | None  # FLOP/s that bound it; None where only memory does

    @property
    def estimates(self) -> tuple[Estimates, ...]:
        """Of a direct kernel and of the product, where both were possible."""
        return tuple(question.estimates() for question in self.questions if question.direct)

    @property
    def arithmetic_seconds(self) -> float:
        return self.flops / self.peak if self.peak else 0.0

    @property
    def memory_seconds(self) -> float:
        return self.least_bytes / (self.gpu.bandwidth * 1e9)

    @property
    def floor_seconds(self) -> float:
        """No implementation is faster at the GPU's published peaks."""
        return max(self.arithmetic_seconds, self.memory_seconds)

    @property
    def main(self) -> KernelPlan:
        """The kernel that does the work, where others prepare or finish it."""
        return next((kernel for kernel in self.kernels if kernel.launch.entry not in _HELPERS), self.kernels[0])

    @property
    def products(self) -> tuple[Configuration, ...]:
        return tuple(kernel.configuration for kernel in self.kernels if kernel.configuration)

    @property
    def predicted_seconds(self) -> float:
        """The longest of: the model's estimate of products and of direct kernels that beat one, or else of
        multiply-adds by FFMA; the bytes, workspace included, at the attainable bandwidth; the arithmetic at its peak.
        And what further launches add."""
        products, launched = self.products, {kernel.launch.entry for kernel in self.kernels}
        direct = [q.estimates().direct for q in self.questions if q.direct and q.direct.kernel in launched]
        if products or direct:
            compute = sum(map(cost.seconds, products)) + sum(direct)
            counted = sum(c.launches for c in products) + len(direct)
        else:
            compute, counted = cost.direct_seconds(self.flops / 2, self.dtype, _architecture(self.gpu)), 1
        traffic = self.least_bytes + 2 * self.workspace_bytes
        memory = traffic / (ATTAINABLE_BANDWIDTH * self.gpu.bandwidth * 1e9)
        longest = max(compute, memory, self.arithmetic_seconds)
        return longest + max(0, len(self.kernels) - counted) * LAUNCH_SECONDS

    def _repr_html_(self) -> str:
        """A line for each kernel, under what the whole call takes."""
        gpu, predicted, floor = self.gpu, self.predicted_seconds * 1e6, self.floor_seconds * 1e6
        lines = [
            {
                "kernel": kernel.launch.entry,
                "blocks": kernel.launch.blocks,
                "threads": kernel.launch.threads,
                "shared bytes": kernel.shared_bytes,
                "registers": kernel.usage.registers if kernel.usage else "?",
                "blocks per SM": kernel.blocks_per_sm or "?",
            }
            for kernel in self.kernels
        ]
        call = f"{self.operation} {self.dtype} on {gpu.name} (sm_{gpu.sm}, {gpu.multiprocessors} SMs)"
        return table(lines, f"{call}: {predicted:.3g} µs predicted, floor {floor:.3g} µs; neither is measured")


def scored(found: CallPlan, chosen: Configuration) -> list[tuple[Configuration, bool]]:
    """Every configuration that the model compared for a product of the call, the fastest first, and whether it is the
    chosen one. They are scored where choice.model_architecture says."""
    model = model_architecture(found.dtype, chosen.architecture, found.precision)
    compared = candidates(chosen.product, found.dtype, model, found.precision)

    def is_chosen(c: Configuration) -> bool:
        return (c.multiply, c.tile, c.halo, c.splits) == (chosen.multiply, chosen.tile, chosen.halo, chosen.splits)

    return sorted(((c, is_chosen(c)) for c in compared), key=lambda each: cost.seconds(each[0]))


def measured(found: CallPlan, chosen: Configuration) -> dict[str, float]:
    """What tuned choices that are in force say of a product of the call: seconds by a configuration's text."""
    asked = (measured_of(question) for question in found.questions if question.product == chosen.product)
    return next(filter(None, asked), {})


def measured_of(question: Question) -> dict[str, float]:
    """The same of one question."""
    known = of_process(on_device=False).known.get(str(question))
    return {str(dict(timed.configuration)): timed.seconds for timed in known.timings} if known else {}


def _architecture(gpu: Gpu) -> Architecture:
    return Architecture(gpu.sm, gpu.multiprocessors)


def plan(
    operation: Operation, arguments: tuple[Any, ...], gpu: Gpu, precision: str, *, compile_: bool = True
) -> CallPlan:
    """The plan of a path function's call; of arrays only shape and dtype are read.

    Registers and what depends on them are known only with `compile_`, where NVRTC is at hand.
    """
    recording = dry_run(implementation(operation, CUDA), arguments, Device(gpu.sm, gpu.multiprocessors))
    compile_ = compile_ and ptxas.unavailable(gpu.sm) is None
    configurations = iter(recording.decisions.configurations)
    kernels = tuple(
        KernelPlan(
            launch,
            gpu,
            ptxas.compiled(launch.text, gpu.sm) if compile_ else None,
            next(configurations) if launch.is_product else None,
        )
        for launch in recording.launches
    )
    inputs = [a for a in arguments if hasattr(a, "dtype")]
    return CallPlan(
        operation=function_of(operation, arguments[-1]).name,
        dtype=inputs[0].dtype.name,
        precision=precision,
        gpu=gpu,
        kernels=kernels,
        questions=tuple(recording.decisions.questions),
        workspace_bytes=recording.workspace_bytes,
        flops=operation.flops(arguments[-1]),
        least_bytes=sum(a.nbytes for a in (*inputs, *recording.outputs)),
        peak=gpu.peak(inputs[0].dtype.name, precision) if operation.is_product else None,
    )
