"""The other implementations that are measured in the same run. Each is optional, and says when it is missing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from .. import backend
from ..kernels.cpu import threads
from ..kernels.layout import NCHW, NHWC
from .cases import Call, Workload, peers_of
from .measure import has_matrix_product

TF32_TOLERANCE = 4e-3
"""Of the largest magnitude: TF32 keeps 10 bits of each factor, so its products err by up to 2**-10."""


@dataclass(frozen=True)
class Peer:
    """One other implementation.

    prepare(case) returns the call that is timed, or raises NotImplementedError where the peer has no such operation.
    to_numpy turns one result into a NumPy array. `scope` is entered around the calls (precision switches).
    `tolerance` replaces the dtype's own where the peer computes in a lower precision.
    """

    name: str
    description: str
    prepare: Callable[[Workload], Call]
    to_numpy: Callable[[Any], np.ndarray] = np.asarray
    scope: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext
    tolerance: float | None = None


@dataclass
class Peers:
    """Those that work here, the most telling first, and why the others do not."""

    present: list[Peer]
    missing: dict[str, str] = field(default_factory=dict)

    def choose(self, names: Sequence[str]) -> list[Peer]:
        """The peers of these names; none named: the first; 'all': all. ValueError for an unknown name."""
        if not names:
            return self.present[:1]
        if "all" in names:
            return self.present
        known = {peer.name: peer for peer in self.present}
        for name in names:
            if name not in known:
                why = self.missing.get(name, f"expected 'all' or one of {', '.join([*known, *self.missing])}")
                raise ValueError(f"peer {name!r} is not available: {why}")
        return [known[name] for name in dict.fromkeys(names)]


def find_peers(layout: str = NCHW) -> Peers:
    """The peers of the backend in force: on NumPy those that run on the CPU, on CuPy those on the same GPU. Those of
    this layout come first."""
    return _cuda_peers(layout) if backend.get_backend() == "cupy" else _cpu_peers(layout)


def _cpu_peers(layout: str) -> Peers:
    return _with_torch(_layout_first(layout, "torch", "torch-nhwc"), "cpu", TEXTBOOK)


def _layout_first(layout: str, *names: str) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: ("nhwc" in name) != (layout == NHWC)))


def _cuda_peers(layout: str) -> Peers:
    names = _layout_first(layout, "torch", "torch-tf32", "torch-nhwc", "torch-nhwc-tf32")
    found = _with_torch(names, "cuda", Peer("cublas", "cuBLAS through CuPy", _prepare_cublas, backend.to_numpy))
    if not has_matrix_product():
        found.present.pop()
        found.missing["cublas"] = "CuPy finds no cuBLAS (for CUDA 12: pip install nvidia-cublas-cu12)"
    return found


def _with_torch(names: tuple[str, ...], device: str, other: Peer) -> Peers:
    torch = _import_torch()
    if torch is None:
        return Peers([other], dict.fromkeys(names, "PyTorch is not installed (pip install torch)"))
    if device == "cuda" and not torch.cuda.is_available():
        return Peers([other], dict.fromkeys(names, f"PyTorch {torch.__version__} finds no CUDA device"))
    return Peers([*(_torch_peer(torch, name, device) for name in names), other])


def _import_torch() -> ModuleType | None:
    """torch with our number of threads, or None where it is not installed."""
    try:
        torch = import_module("torch")
    except ImportError:
        return None
    torch.set_num_threads(threads.count())
    return torch


def _describe_torch(torch: Any, device: str, nhwc: bool, tf32: bool) -> str:
    layout = "channels_last" if nhwc else "NCHW"
    if device == "cpu":
        return f"PyTorch {torch.__version__} CPU, {layout}, {torch.get_num_threads()} threads"
    cudnn = f"PyTorch {torch.__version__}, cuDNN {torch.backends.cudnn.version()}"
    return f"{cudnn}, {layout}, TF32 {'on' if tf32 else 'off'}"


def _torch_peer(torch: Any, name: str, device: str) -> Peer:
    nhwc, tf32 = "nhwc" in name, "tf32" in name

    def tensor(a: np.ndarray, last: bool) -> Any:
        """On the device, the channels where this peer has them in memory; last: the array has them last."""
        if a.dtype.kind == "u":  # taps: the operation makes PyTorch's indices of them
            return a
        if a.dtype.name == "bfloat16":
            t = torch.from_numpy(a.view(np.int16)).view(torch.bfloat16)
        else:
            t = torch.from_numpy(a)
        t = t.to(device)
        if last and not nhwc and a.ndim > 2:
            return t.movedim(-1, 1).contiguous().movedim(1, -1)
        return t.contiguous(memory_format=torch.channels_last) if nhwc and not last and a.ndim == 4 else t

    def prepare(case: Workload) -> Call:
        if nhwc and case.operation.family.room in ("linear", "loss", "optim", "training"):
            raise NotImplementedError("channels_last is a layout of images")
        if tf32 and case.dtype != "float32":
            raise NotImplementedError("TF32 is a precision of float32")
        last = getattr(case.geometry, "channels_last", False)
        call: Call = _form(case, "TORCH")(*case.convert(partial(tensor, last=last)), case.geometry)
        return call

    def to_numpy(result: Any) -> np.ndarray:
        wide = result.double() if result.is_floating_point() else result
        return wide.contiguous().cpu().numpy()

    @contextlib.contextmanager
    def scope() -> Iterator[None]:
        before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before

    enter = scope if device == "cuda" else contextlib.nullcontext
    description = _describe_torch(torch, device, nhwc, tf32)
    return Peer(name, description, prepare, to_numpy, enter, TF32_TOLERANCE if tf32 else None)


def _prepare_textbook(case: Workload) -> Call:
    if np.dtype(case.arrays[0].dtype).itemsize == 2:
        raise NotImplementedError("it would add up in 16 bits")
    return partial(_form(case, "TEXTBOOK"), *case.arrays, case.geometry)


def _prepare_cublas(case: Workload) -> Call:
    return partial(_form(case, "CUBLAS"), *case.convert(backend.asarray), case.geometry)


def _form(case: Workload, library: str) -> Callable[..., Any]:
    """The operation's form in TEXTBOOK, TORCH or CUBLAS; NotImplementedError where its room has none."""
    forms: dict[str, Callable[..., Any]] = getattr(peers_of(case.operation), library)
    if case.operation.name not in forms:
        raise NotImplementedError("it has no such operation")
    return forms[case.operation.name]


TEXTBOOK = Peer("textbook", "NumPy, im2col image by image", _prepare_textbook)
