"""A small case of every operation, for what all operations promise alike."""

from __future__ import annotations

from backstride.conformance.suite import all_cases
from backstride.kernels import FUNCTIONS
from backstride.kernels.operation import Case, Function, Operation

_POOL = {"kernel_size": 3, "stride": 2, "padding": ((1, 1), (1, 2))}
_OF_FAMILY = {
    "conv": Case("", (3, 4, 9, 8), (6, 2, 3, 2), {"stride": 2, "padding": ((1, 1), (1, 2)), "groups": 2}),
    "conv_transpose": Case("", (3, 6, 5, 5), (6, 2, 3, 2), {"stride": 2, "padding": ((1, 1), (1, 2)), "groups": 2}),
    "max_pool": Case("", (3, 4, 9, 8), (), _POOL),
    "avg_pool": Case("", (3, 4, 9, 8), (), {**_POOL, "count_include_pad": False, "divisor_override": -2}),
    "linear": Case("", (5, 7), (6, 7)),
    "cross_entropy": Case("", (3, 4, 5), (), {"axis": 1, "label_smoothing": 0.25, "ignore_index": 1, "weight": True}),
    "batch_norm": Case("", (3, 4, 5, 6), (), {"activation": "relu", "residual": True}),
}


def small(function: Function) -> Case:
    """Of functions of two axes and of none: those of one and three have the first of their family's."""
    first, *_ = all_cases(function)
    return _OF_FAMILY.get(function.operation.family.name, first) if function.rank in (0, 2) else first


SMALL: dict[str, tuple[Operation, Case]] = {
    name: (function.operation, small(function)) for name, function in FUNCTIONS.items()
}
