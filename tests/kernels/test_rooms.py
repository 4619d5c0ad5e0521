"""What may import what: dependencies point one way."""

from __future__ import annotations

import ast
from pathlib import Path

from backstride import kernels, layers
from backstride.kernels import OPERATIONS
from backstride.kernels.operation import geometry_of, room_module

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
    named = {name for kind in layers.__all__ if (name := getattr(getattr(layers, kind), "operation", None))}
    assert named
    for operation in map(OPERATIONS.__getitem__, named):
        case = operation.family.cases[0]
        shapes = {"x": case.x} | ({"w": case.w} if case.w else {})
        explain = room_module(operation.family.room, "explain").EXPLAIN[operation.name]
        assert explain.formulas(geometry_of(operation, case), shapes).forward.startswith("Y")
