"""An explanation as a page to click through: one HTML file with everything in it, which needs no network.

The template is beside this file, in page/: page.html, its style, and what draws it. The arrays are in it as they are,
in float64, and sums as the rooms declare them (kernels/sums.py); the page follows those and adds up.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import numpy as np

from ..backend import to_numpy
from ..kernels.explain import Windows
from ..kernels.sums import SYMBOLS, Chosen, Factor, Flat, Shape, Sum, Table
from .explain_layer import explain_layer
from .step import Gradient, Step, own_parameters, short

SCRIPTS = ("arrays.js", "sums.js", "tensor.js", "products.js", "flipped.js", "layer.js", "main.js")
"""In the order in which one needs another."""

LIMIT = 700_000
"""Bytes of the arrays: of as many images as fit, at least one. As text they are a third longer."""
ARRAY_LIMIT = 1_000_000
"""An array of one image with more bytes is left out."""


def page(description: str, input_shape: Shape, steps: Iterable[Step]) -> str:
    """The page as text."""
    steps = list(steps)
    arrays = _Arrays(input_shape[0] if input_shape else 0)
    layers = [_layer(place, step, arrays) for place, step in enumerate(steps, 2)]
    images = arrays.fitting()
    data = {
        "network": description,
        "images": {"shown": images, "of": arrays.images},
        "input": arrays.number(to_numpy(steps[0].x)) if steps else None,
        "layers": layers,
        "arrays": arrays.written(images),
    }
    text = _file("page.html")
    for place, content in (
        ("/* style */", _file("page.css")),
        ("/* script */", "\n".join(map(_file, SCRIPTS))),
        ("/* data */", json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")),
    ):
        before, after = text.split(place)
        text = before + content + after
    return text


def _file(name: str) -> str:
    return (resources.files(__package__) / "page" / name).read_text(encoding="utf-8").strip()


class _Arrays:
    """The arrays that layers name, each once; those of images are cut to the first of them."""

    def __init__(self, images: int) -> None:
        self.images = images
        self._found: dict[tuple[Any, ...], int] = {}
        self._arrays: list[tuple[np.ndarray, bool]] = []
        self._channels_last: set[int] = set()

    def number(self, array: Any, of_images: bool = True, channels_last: bool = False) -> int:
        array = np.ascontiguousarray(array, "<f8").reshape(np.shape(array))
        of_images = of_images and array.ndim > 2 and len(array) == self.images
        key = (array.shape, of_images, array.tobytes())
        if key not in self._found:
            self._found[key] = len(self._arrays)
            self._arrays.append((array, of_images))
        if channels_last:
            self._channels_last.add(self._found[key])
        return self._found[key]

    def fitting(self) -> int:
        """How many images fit."""
        each = sum(array[:1].nbytes for array, of_images in self._arrays if of_images)
        rest = sum(array.nbytes for array, of_images in self._arrays if not of_images)
        return min(self.images, max(1, (LIMIT - rest) // each)) if each else self.images

    def written(self, images: int) -> list[dict[str, Any]]:
        return [
            _written(array[:images] if of_images else array, array.shape, of_images, number in self._channels_last)
            for number, (array, of_images) in enumerate(self._arrays)
        ]


def _written(held: np.ndarray, shape: Shape, of_images: bool, channels_last: bool) -> dict[str, Any]:
    known = {"shape": shape, "images": of_images, "held": len(held) if held.ndim else 1, "last": channels_last}
    if held.nbytes <= ARRAY_LIMIT:
        known["data"] = base64.b64encode(held.tobytes()).decode()
    return known


def _layer(place: int, step: Step, arrays: _Arrays) -> dict[str, Any]:
    room = explain_layer(step.layer)
    parameters = {short(name) for name in own_parameters(step.layer)}
    fixed = parameters | {f"d{name}" for name in parameters}
    relations: list[Table | Flat] = []
    sums = {name: [_sum(each, relations) for each in of] for name, of in step.sums().items()}
    found, geometry = step.arrays(), step.layer.geometry(step.x.shape)
    last = step.x.ndim if getattr(geometry, "channels_last", False) else 0  # axes of what has the layer's layout
    return {
        "number": place,
        "name": step.name,
        "layer": repr(step.layer),
        "facts": step.facts(),
        "forward": step.formulas.forward,
        "recap": step.formulas.recap,
        "arrays": {
            name: arrays.number(array, name not in fixed, 2 < array.ndim == last) for name, array in found.items()
        },
        "symbols": {name: SYMBOLS.get(name, name) for name in found},
        "sums": sums,
        "relations": list(map(_relation, relations)),
        "windows": _windows(room.windows(geometry)),
        "gradients": [_gradient(gradient, step.formulas.reasons) for gradient in step.gradients],
    }


def _sum(each: Sum, relations: list[Table | Flat]) -> dict[str, Any]:
    for relation in each.relations:
        if relation not in relations:
            relations.append(relation)
    return {
        "at": each.at,
        "factors": list(map(_factor, each.factors)),
        "relations": [relations.index(relation) for relation in each.relations],
        "chosen": each.chosen and _chosen(each.chosen),
        "sign": each.sign,
        "nothing": each.nothing,
    }


def _factor(factor: Factor) -> dict[str, str]:
    return {"array": factor.array, "at": factor.at}


def _chosen(chosen: Chosen) -> dict[str, Any]:
    return {"of": _factor(chosen.of), "by": chosen.by, "lost": chosen.lost}


def _relation(relation: Table | Flat) -> dict[str, Any]:
    if isinstance(relation, Table):
        return {"letters": relation.letters, "rows": relation.rows}
    return {"letters": relation.letters, "flat": relation.flat, "extents": relation.extents}


def _windows(windows: Windows | None) -> dict[str, Any] | None:
    if windows is None:
        return None
    names = ("extent", "taps", "windows", "stride", "before", "after", "dilation")
    return {
        "axes": [{name: getattr(axis, name) for name in names} for axis in windows.axes],
        "letters": windows.letters,
        "over": windows.over,
        "numbered": windows.numbered,
    }


def _gradient(gradient: Gradient, reasons: Mapping[str, str]) -> dict[str, Any]:
    of = f"d{short(gradient.of)}"
    return {
        "name": gradient.name,
        "of": of,
        "formula": gradient.formula,
        "reason": reasons.get(of, ""),
        "shape": str(gradient.shape),
        "measured": gradient.measured,
        "verdict": gradient.verdict and gradient.verdict.value,
    }
