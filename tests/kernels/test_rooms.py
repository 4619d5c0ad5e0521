"""What may import what: dependencies point one way."""

from __future__ import annotations

import ast
from pathlib import Path

from backstride import kernels, layers
from backstride.explanation.explain_layer import explain_layer
from backstride.layers import AvgPool2d, Conv2d, Linear, MaxPool2d

KERNELS = Path(kernels.__file__).parent
ABOVE = {"benchmarks", "cli", "conformance", "explanation", "layers"}


def test_kernels_import_nothing_from_above():
    for file in KERNELS.rglob("*.py"):
        to_the_package = len(file.relative_to(KERNELS).parts) + 1  # as many dots
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level == to_the_package:
                names = [node.module.split(".")[0]] if node.module else [alias.name for alias in node.names]
                assert not ABOVE.intersection(names), f"{file}, line {node.lineno}"


def test_the_rooms_explain_the_layers_that_name_an_operation():
    made = (Conv2d(2, 3, 2), MaxPool2d(2), AvgPool2d(2), Linear(3, 2))
    named = {kind for name in layers.__all__ if getattr(kind := getattr(layers, name), "operation", None)}
    assert set(map(type, made)) == named
    for layer in made:
        x_shape = (2, 3) if isinstance(layer, Linear) else (2, 2, 5, 4)
        assert explain_layer(layer).formulas(layer.geometry(x_shape), {"x": x_shape}).forward.startswith("Y")
