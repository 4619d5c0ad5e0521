"""From a configuration and its arrays to a kernel on the current stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from ...precision import get_float32_precision
from ..checks import accumulation_dtype, value_error
from . import repeat
from .arrays import contiguous
from .loader import C_TYPES, Params, fast_div, kernel
from .repeat import empty
from .tiles import INDEX_LIMIT, Configuration, Product, architecture_of, choose

_DEFAULT_SHARED_BYTES = 48 * 1024  # a kernel must ask for more

# Every product kernel's first parameters (gemm.cuh); C is (columns, rows), `rows` being its contiguous axis.
_PRODUCT = (
    ("n_tiles", "FastDiv"),
    ("m_tiles", "FastDiv"),
    ("groups", "FastDiv"),
    ("rows", "int"),
    ("columns", "int"),
    ("depth", "int"),
    ("splits", "int"),
    ("output_size", "long long"),
    ("y", "Element*"),
    ("bias", "const Element*"),
    ("partial", "Acc*"),
)

_SPLIT_SUM = Params(
    (
        ("y", "Element*"),
        ("bias", "const Element*"),
        ("partial", "const Acc*"),
        ("size", "int"),
        ("parts", "int"),
        ("inner", "FastDiv"),
        ("channels", "FastDiv"),
    )
)
_SUM_THREADS = 256

told: ContextVar[Callable[[Configuration], None] | None] = ContextVar("backstride_told", default=None)
"""Is told the configuration of every product that is launched, where a dry run asks."""

BIAS_GRAD = (("db", "Element*"), ("db_partial", "Acc*"))
"""The last parameters of a product kernel that also gives the bias gradient (src/row_sums.cuh)."""


def product_params(*fields: tuple[str, str]) -> Params:
    """The parameters of a product kernel whose own ones are `fields`."""
    return Params(_PRODUCT + fields)


def check_index(operation: str, **extents: int) -> None:
    """ValueError where an extent that kernels count in 32 bits is too large for that."""
    for name, extent in extents.items():
        if extent >= INDEX_LIMIT:
            raise value_error(operation, name.replace("_", " "), extent, f"less than {INDEX_LIMIT} on CUDA")


def launch(
    name: str,
    entry: str,
    defines: Mapping[str, object],
    params: Params,
    grid: int,
    block: int,
    shared: int,
    **values: Any,
) -> None:
    """Queue src/`name`'s `entry` on the current stream."""
    function = kernel(name, entry, defines, params)
    if shared > max(_DEFAULT_SHARED_BYTES, function.max_dynamic_shared_size_bytes):
        function.max_dynamic_shared_size_bytes = shared
    packed = params.pack(**values)
    repeat.note(function, (grid,), (block,), params, packed, shared)
    function((grid,), (block,), (packed,), shared_mem=shared)


def configure(product: Product, array: Any) -> Configuration:
    """The configuration of a product of arrays like this one."""
    return choose(product, array.dtype.name, architecture_of(array), get_float32_precision())


def launch_product(
    entry: str,
    configuration: Configuration,
    params: Params,
    defines: Mapping[str, object],
    y: Any,
    bias: Any,
    *,
    groups: int = 1,
    depth: int | None = None,
    channels: tuple[int, int] = (1, 1),
    **values: Any,
) -> None:
    """Queue the product kernel src/`entry`.cu, which fills y; then, where k is split, the sum of the parts.

    depth: what is split among blocks, where it is not all of k. channels: (C, inner), where element i of y takes bias
    number (i // inner) % C.
    """
    if y.size == 0:
        return
    c = configuration
    check_index(entry, blocks=c.blocks)
    tell = told.get()
    if tell is not None:
        tell(c)
    split = c.splits > 1
    partial = empty(c.splits * y.size, accumulation_dtype(y.dtype)) if split else None
    launch(
        f"{entry}.cu", entry, {**c.defines, **defines}, params, c.blocks, c.threads, c.shared_bytes,
        n_tiles=fast_div(c.n_tiles), m_tiles=fast_div(c.m_tiles), groups=fast_div(groups),
        rows=c.product.m, columns=c.product.n, depth=c.product.k if depth is None else depth, splits=c.splits,
        output_size=y.size,
        y=y, bias=bias, partial=partial, **values,
    )  # fmt: skip
    if split:
        sum_partials(partial, y, bias, c.splits, channels)


def launch_product_and_bias_grad(
    entry: str,
    configuration: Configuration,
    params: Params,
    defines: Mapping[str, object],
    dw: Any,
    db: Any,
    **values: Any,
) -> None:
    """launch_product, which also fills db, unless it is None, with the sums of B over k; dw then has elements."""
    splits = configuration.splits
    summed = db is not None and splits > 1
    partial = empty(splits * db.size, accumulation_dtype(db.dtype)) if summed else None
    launch_product(
        entry, configuration, params, {**defines, "BIAS_GRAD": int(db is not None)}, dw, None,
        db=db, db_partial=partial, **values,
    )  # fmt: skip
    if summed:
        sum_partials(partial, db, None, splits, (1, 1))


def sum_partials(partial: Any, y: Any, bias: Any, parts: int, channels: tuple[int, int]) -> None:
    """y = the sum of the `parts` parts of its size in `partial`, in a fixed order, plus the bias."""
    lanes = 8 if parts >= 16 else 1
    defines = {"TYPE": C_TYPES[y.dtype.name], "THREADS": _SUM_THREADS, "LANES": lanes}
    launch(
        "split_sum.cu", "split_sum", defines, _SPLIT_SUM, -(-y.size * lanes // _SUM_THREADS), _SUM_THREADS, 0,
        y=y, bias=bias, partial=partial, size=y.size, parts=parts,
        inner=fast_div(channels[1]), channels=fast_div(channels[0]),
    )  # fmt: skip


def inputs(*arrays: Any) -> tuple[Any, ...]:
    """The arrays as kernels take them, contiguous and aligned; None stays None."""
    return tuple(None if a is None else contiguous(a) for a in arrays)
