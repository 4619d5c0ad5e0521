"""Each .cu and .cuh file by itself: it compiles, and its parameter struct is to Python what it is to a compiler."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
from emulator import build

from backstride.kernels.cuda.runtime import loader
from backstride.kernels.cuda.runtime.params import Struct

SOURCES = loader.sources()
KERNELS = [name for name in SOURCES if name.endswith(".cu")]
INCLUDE = loader.KERNELS / "cuda" / "src"

needs_gcc = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ compiles the kernels here")
needs_clang = pytest.mark.skipif(shutil.which("clang++") is None, reason="clang++ reads the files as an editor does")


@needs_gcc
@pytest.mark.parametrize("name", SOURCES)
def test_a_file_compiles_by_itself(name):
    build.check_syntax(SOURCES[name].read_text(encoding="utf-8"), (INCLUDE, SOURCES[name].parent))


@needs_gcc
def test_a_file_that_does_not_compile_is_found():
    with pytest.raises(build.CompileException, match="Elment"):
        build.check_syntax('#include "element.cuh"\nDEVICE Elment zero() { return {}; }\n', (INCLUDE,))


@needs_clang
@pytest.mark.parametrize("name", SOURCES)
def test_an_editor_reads_a_file_as_cuda(name):
    command = ["clang++", "@compile_flags.txt", "-fsyntax-only", "-Werror", SOURCES[name]]
    result = subprocess.run(command, cwd=loader.KERNELS, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


TRAITS = """
template <class A, class B> constexpr bool same = false;
template <class A> constexpr bool same<A, A> = true;
template <class T> constexpr bool is_pointer = false;
template <class T> constexpr bool is_pointer<T*> = true;
"""
C_NAMES = {"int32": "int", "uint32": "unsigned", "int64": "long long", "float32": "float", "float64": "double"}


def asserts(dtype: np.dtype, pointers: tuple[int, ...], member: str = "", start: int = 0) -> Iterator[str]:
    """What C++ must say of the fields of Params, those of structs within it included."""
    for field, (kind, offset) in (dtype.fields or {}).items():
        name, at = f"{member}{field}", start + offset
        of_type = f"decltype(((Params*)0)->{name})"
        yield f"sizeof({of_type}) == {kind.itemsize}"
        yield f"offsetof(Params, {name}) == {at}"
        if kind.fields:
            yield from asserts(kind, pointers, f"{name}.", at)
        elif at // 8 in pointers:
            yield f"is_pointer<{of_type}>"
        else:
            yield f"same<{of_type}, {C_NAMES[kind.name]}>"


def check(struct: Struct, text: str) -> None:
    claims = [f"sizeof(Params) == {struct.dtype.itemsize}", *asserts(struct.dtype, struct.pointer_words)]
    build.check_syntax(text + TRAITS + "".join(f"static_assert({claim});\n" for claim in claims))


@needs_gcc
@pytest.mark.parametrize("name", KERNELS)
def test_parameters_lie_where_the_compiler_puts_them(name):
    check(loader.params(name), loader.source(name, {}))


MIXED = """
struct Inner {
    int a;  // then padding
    double b;
};
struct Params {
    int first, second;
    const float* x;
    Inner inner;
    unsigned last;
};
"""


@needs_gcc
@pytest.mark.parametrize(
    ("python", "compiler"),
    [
        ("int a;", "long long a;"),
        ("double b;", "long long b;"),
        ("unsigned last;", "int last;"),
        ("float* x", "int x[2]"),
    ],
)
def test_structs_that_differ_are_told_apart(python, compiler):
    check(Struct.of(MIXED), MIXED)
    with pytest.raises(build.CompileException, match="static assertion failed"):
        check(Struct.of(MIXED), MIXED.replace(python, compiler))


def test_packing_by_name():
    struct = Struct.of(MIXED)
    assert struct.pointer_words == (1,)
    packed = struct.pack(first=1, second=2, x=None, inner={"b": 4.0, "a": 3}, last=5)
    assert packed.shape == (1,)
    assert packed[0].item() == (1, 2, 0, (3, 4.0), 5)
    assert struct.pack(first=1, second=2, x=None, inner=(3, 4.0), last=5) == packed


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"inner": {"a": 1, "b": 2}}, r"missing \['x'\], unknown \[\]"),
        ({"x": 0, "inner": {"a": 1, "b": 2}, "y": 0}, r"missing \[\], unknown \['y'\]"),
        ({"x": 0, "inner": {"a": 1, "c": 2}}, r"missing \['b'\], unknown \['c'\]"),
    ],
)
def test_wrong_names_are_refused(values, message):
    with pytest.raises(KeyError, match=message):
        Struct.of(MIXED).pack(first=1, second=2, last=5, **values)


def test_a_tuple_too_short_is_refused():
    with pytest.raises(ValueError, match="shorter"):
        Struct.of(MIXED).pack(first=1, second=2, x=0, inner=(3,), last=5)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("int a[2];", r"struct Params: what is `int a\[2\]`"),
        ("int *a;", r"what is `int \*a`"),
        ("const float *a, *b;", "what is"),
        ("int a = 1;", "what is"),
        ("int a : 3;", "what is"),
        ("int a", "what is `int a`"),
        ("#if SPLIT\n    int a;\n#endif", "what is `#if SPLIT int a`"),
        ("Element a;", "struct Element is not in the kernel's text"),
        ("int f() { return 1; }", "struct Params is not in the kernel's text, or not plain data"),
    ],
)
def test_a_member_that_is_no_plain_data_is_refused(member, message):
    with pytest.raises(ValueError, match=message):
        Struct.of(f"struct Params {{\n    {member}\n}};\n")
