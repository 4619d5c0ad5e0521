"""What measured times hold for: a GPU model, its driver, and the kernels' sources."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import cache
from hashlib import sha256
from typing import Any

from ....backend import import_cupy
from ..runtime.loader import sources


@dataclass(frozen=True)
class Machine:
    gpu: str
    sm: int
    multiprocessors: int
    driver: int
    source: str

    @classmethod
    def here(cls) -> Machine:
        """The current device; CuPy is there, and it works."""
        cupy = import_cupy()
        device = cupy.cuda.Device()
        name = cupy.cuda.runtime.getDeviceProperties(device.id)["name"]
        return cls(
            gpu=name.decode() if isinstance(name, bytes) else name,
            sm=int(device.compute_capability),
            multiprocessors=device.attributes["MultiProcessorCount"],
            driver=cupy.cuda.runtime.driverGetVersion(),
            source=source_digest(),
        )

    @classmethod
    def named(cls, found: Any) -> Machine:
        """From a file's entry; ValueError where that is none."""
        kinds = {field.name: {"str": str, "int": int}[str(field.type)] for field in fields(cls)}
        if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != kinds:
            raise ValueError(f"machine is {found!r}; expected {', '.join(kinds)}")
        return cls(**found)

    def difference(self, other: Machine) -> str | None:
        """How another machine differs, in words; None where what was measured on this one holds there."""
        theirs = asdict(other)
        told = (f"{name} {value}, not {theirs[name]}" for name, value in asdict(self).items() if value != theirs[name])
        return next(told, None)


@cache
def source_digest() -> str:
    """Of all CUDA sources: another text may have another best tile."""
    digest = sha256()
    for name, file in sources().items():
        digest.update(f"{name}\n{file.read_text(encoding='utf-8')}".encode())
    return digest.hexdigest()[:16]
