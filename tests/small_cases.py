"""A small case of every operation, for what all operations promise alike."""

from __future__ import annotations

from backstride.kernels import FUNCTIONS
from backstride.kernels.operation import Case, Operation

_POOL = {"kernel_size": 3, "stride": 2, "padding": ((1, 1), (1, 2))}
_OF_FAMILY = {
    "conv": Case("", (3, 4, 9, 8), (6, 2, 3, 2), {"stride": 2, "padding": ((1, 1), (1, 2)), "groups": 2}),
    "conv_transpose": Case("", (3, 6, 5, 5), (6, 2, 3, 2), {"stride": 2, "padding": ((1, 1), (1, 2)), "groups": 2}),
    "max_pool": Case("", (3, 4, 9, 8), (), _POOL),
    "avg_pool": Case("", (3, 4, 9, 8), (), {**_POOL, "count_include_pad": False, "divisor_override": -2}),
    "linear": Case("", (5, 7), (6, 7)),
    "batch_norm": Case("", (3, 4, 5, 6), (), {"activation": "relu", "residual": True}),
}


def small(operation: Operation) -> Case:
    return _OF_FAMILY.get(operation.family.name, operation.family.cases[0])


SMALL = {name: (function.operation, small(function.operation)) for name, function in FUNCTIONS.items()}
