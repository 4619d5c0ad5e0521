"""The struct that a kernel takes by value, `Params`, as NumPy packs it: read from the kernel's own text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

_SCALARS = {"int": np.int32, "unsigned": np.uint32, "long long": np.int64, "float": np.float32, "double": np.float64}
_COMMENT = re.compile(r"//.*")
_STRUCT = re.compile(r"^struct (\w+) \{([^{}]*)\};", re.MULTILINE)  # one of data alone
_POINTER = re.compile(r"(?:const )?\w+(?: \w+)?\* (\w+)")
_VALUES = re.compile(r"(\w+(?: long)?) (\w+(?:, \w+)*)")


@dataclass(frozen=True)
class Struct:
    """The fields of a struct in their order: a number's type, None for a pointer, or the fields of a struct within."""

    fields: Mapping[str, type | Struct | None]

    @classmethod
    def of(cls, text: str, name: str = "Params") -> Struct:
        """`struct name` of a CUDA text; ValueError where a member is not plain data, on which both compilers agree."""
        return _parsed(name, dict(_STRUCT.findall(_COMMENT.sub("", text))))

    @cached_property
    def dtype(self) -> np.dtype:
        """CuPy passes an array of one such element by value."""
        kinds = {name: np.uint64 if kind is None else kind for name, kind in self.fields.items()}
        members = [(name, kind.dtype if isinstance(kind, Struct) else kind) for name, kind in kinds.items()]
        return np.dtype(members, align=True)

    @cached_property
    def pointer_words(self) -> tuple[int, ...]:
        """Which of the struct's 8-byte words are pointers."""
        return tuple(offset // 8 for offset in self._pointers())

    def _pointers(self) -> Iterator[int]:
        places: Mapping[str, Any] = self.dtype.fields or {}
        for name, kind in self.fields.items():
            offset = places[name][1]
            if isinstance(kind, Struct):
                yield from (offset + inner for inner in kind._pointers())
            elif kind is None:
                yield offset

    def pack(self, **values: Any) -> np.ndarray:
        """The struct with these values, one for every field: an array stands for its address, None for null, a dict or
        a tuple of all its fields for a struct."""
        return np.array([self._row(values)], dtype=self.dtype)

    def _row(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        wrong = set(values) ^ set(self.fields)
        if wrong:
            missing, unknown = sorted(wrong & set(self.fields)), sorted(wrong - set(self.fields))
            raise KeyError(f"a kernel's parameters: missing {missing}, unknown {unknown}")
        return tuple(_value(kind, values[name]) for name, kind in self.fields.items())


def _value(kind: type | Struct | None, value: Any) -> Any:
    if isinstance(kind, Struct):
        return kind._row(value if isinstance(value, Mapping) else dict(zip(kind.fields, value, strict=True)))
    if value is None and kind is None:
        return 0
    return value.data.ptr if hasattr(value, "data") and hasattr(value.data, "ptr") else value


def _parsed(name: str, bodies: Mapping[str, str]) -> Struct:
    if name not in bodies:
        raise ValueError(f"struct {name} is not in the kernel's text, or not plain data")
    *members, rest = (" ".join(member.split()) for member in bodies[name].split(";"))
    fields: dict[str, type | Struct | None] = {}
    for member in members:
        pointer, values = _POINTER.fullmatch(member), _VALUES.fullmatch(member)
        if pointer:
            fields[pointer[1]] = None
        elif values:
            fields |= dict.fromkeys(values[2].split(", "), _SCALARS.get(values[1]) or _parsed(values[1], bodies))
        else:
            raise ValueError(f"struct {name}: what is `{member}`?")
    if rest:
        raise ValueError(f"struct {name}: what is `{rest}`?")
    return Struct(fields)
