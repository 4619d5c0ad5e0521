"""How float32 products may be computed: exactly rounded, or by tensor cores.

"auto"    the fastest way whose error stays at float32's level: on CUDA three TF32 products per float32 product
          where that is faster than float32 units.
"ieee"    only float32 multiplications and additions of the operation's own products.
"tf32x3"  on CUDA three TF32 tensor-core products per float32 product.
"tf32"    on CUDA one TF32 tensor-core product (10-bit mantissas).

On NumPy all of them mean "ieee". float16, bfloat16 and float64 are never affected.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from ._switch import Switch

NAMES = ("auto", "ieee", "tf32x3", "tf32")
VARIABLE = "BACKSTRIDE_FLOAT32_PRECISION"

_switch = Switch("float32 precision", NAMES, VARIABLE)


def set_float32_precision(name: str) -> None:
    """Select the float32 precision of the whole process: 'auto', 'ieee', 'tf32x3' or 'tf32'.

    Raises ValueError for another name; the precision in force then stays.
    """
    _switch.set(name)


def use_float32_precision(name: str) -> AbstractContextManager[None]:
    """Select the float32 precision inside a with block, for this thread or async task only."""
    return _switch.use(name)


def get_float32_precision() -> str:
    """The precision in force; BACKSTRIDE_FLOAT32_PRECISION is read at the first call, "auto" where it is unset."""
    return _switch.get()
