"""The checks on labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from .geometry import CrossEntropyGeometry


def checked_labels(operation: str, labels: Any, g: CrossEntropyGeometry, meaning: str) -> Any:
    """The labels as int64. TypeError for their dtype; ValueError for their shape, and on NumPy their values."""
    if labels.dtype.kind not in "iu":
        raise checks.type_error(operation, "labels.dtype", labels.dtype, "an integer dtype")
    checks.has_shape(operation, "labels", labels, g.labels_shape, meaning)
    if labels.dtype != np.int64:
        labels = labels.astype(np.int64)
    if isinstance(labels, np.ndarray):
        wrong = labels[((labels < 0) | (labels >= g.length)) & (labels != g.ignore_index)]
        if wrong.size:
            raise checks.value_error(operation, "a label", wrong[0], f"0 to {g.length - 1}, for {g.length} classes")
    return labels
