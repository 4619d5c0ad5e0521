"""What cupy.cudnn said of the machine, and let programs choose of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import import_cupy, probe_cupy

_FIRST_WITH_TENSOR_CORES = 70  # compute capability times ten

_workspace_bytes = 8 * 2**20


def get_max_workspace_size() -> int:
    """The bytes that set_max_workspace_size was given, 8 MiB before that."""
    return _workspace_bytes


def set_max_workspace_size(size: int) -> None:
    """Keep the number: no function here takes a workspace that it would bound."""
    global _workspace_bytes
    _workspace_bytes = size


def is_tensor_core_available(dtype: Any) -> bool:
    """Whether tensor cores of the current GPU multiply this dtype: True for float16 on compute capability 7.0 or more.
    False where no GPU works."""
    if np.dtype(dtype) != np.float16 or probe_cupy().failed is not None:
        return False
    return int(import_cupy().cuda.Device().compute_capability) >= _FIRST_WITH_TENSOR_CORES
