"""Matrix products on the current stream: their kernel, and the sum of the parts where k is split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....precision import get_float32_precision
from ...dtypes import accumulation_dtype
from ..runtime.answers import in_force
from ..runtime.launch import check_index, launch
from ..runtime.loader import fast_div
from ..runtime.replay import empty
from ..sums import sum_partials
from .choice import architecture_of
from .configuration import Configuration, Direct, Product
from .decisions import record_configuration, record_question
from .tuned import Choice, Question


def configure(operation: str, product: Product, array: Any, one: Product | None = None) -> Configuration:
    """The configuration of a product of arrays like this one; one: that of one image, if it is to decide the bits.

    operation: the kernels that launch it, whatever the configuration.
    """
    chosen = _answer(_question(operation, product, array, one))
    assert isinstance(chosen, Configuration)
    return chosen


def configure_unless_direct(
    operation: str, direct: Direct, product: Product, array: Any, one: Product | None = None
) -> Configuration | None:
    """As configure, where a direct kernel competes with the product; None where that is to be launched."""
    chosen = _answer(_question(operation, product, array, one, direct))
    return chosen if isinstance(chosen, Configuration) else None


def _question(
    operation: str, product: Product, array: Any, one: Product | None, direct: Direct | None = None
) -> Question:
    return Question(operation, product, array.dtype.name, architecture_of(array), get_float32_precision(), one, direct)


def _answer(question: Question) -> Choice:
    record_question(question)
    return in_force().choice(question) or question.modelled()


def launch_product(
    entry: str,
    configuration: Configuration,
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
    record_configuration(c)
    split = c.splits > 1
    partial = empty(c.splits * y.size, accumulation_dtype(y.dtype)) if split else None
    launch(
        f"{entry}.cu",
        entry,
        {**c.defines, **defines},
        c.blocks,
        c.threads,
        c.shared_bytes,
        product={
            "n_tiles": fast_div(c.n_tiles),
            "m_tiles": fast_div(c.m_tiles),
            "groups": fast_div(groups),
            "rows": c.product.m,
            "columns": c.product.n,
            "depth": c.product.k if depth is None else depth,
            "splits": c.splits,
            "output_size": y.size,
            "y": y,
            "bias": bias,
            "partial": partial,
        },
        **values,
    )
    if split:
        sum_partials(partial, y, bias, c.splits, channels)


def launch_product_and_bias_grad(
    entry: str,
    configuration: Configuration,
    defines: Mapping[str, object],
    y: Any,
    bias: Any,
    db: Any,
    **values: Any,
) -> None:
    """launch_product, which also fills db, unless it is None, with the sums of B over k; y then has elements."""
    splits = configuration.splits
    summed = db is not None and splits > 1
    partial = empty(splits * db.size, accumulation_dtype(db.dtype)) if summed else None
    defines = {**defines, "BIAS_GRAD": int(db is not None)}
    launch_product(entry, configuration, defines, y, bias, bias_grad={"db": db, "partial": partial}, **values)
    if summed:
        sum_partials(partial, db, None, splits, (1, 1))
