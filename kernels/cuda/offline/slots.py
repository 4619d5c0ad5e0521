"""Counts what every main loop costs in the compiled kernels and writes gemm/loops.tsv, by which kernels are chosen:
`python -m backstride.kernels.cuda.offline.slots`, after a change of the CUDA sources of products. Needs NVRTC and
nvdisasm (sass.py), no GPU; some minutes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

from ...._files import save
from ...conv.geometry import ConvGeometry
from ..gemm import loops
from ..gemm.choice import candidates_by
from ..gemm.configuration import (
    Architecture,
    Configuration,
    HaloConfiguration,
    Product,
    WeightHaloConfiguration,
)
from ..gemm.loops import Cost, fetch_name, multiply_name, source_of_a, source_of_b
from ..runtime import loader
from ..runtime.gpus import compute_capability
from . import sass

ARCHITECTURES = (75, 80, 90, 100, 120)

_KERNELS = (
    "conv_forward",
    "conv_forward_nhwc",
    "conv_halo",
    "conv_weight_grad",
    "conv_weight_grad_halo",
    "conv_weight_grad_nhwc",
    "linear",
)

# Multiply-adds of one instruction of a warp; of the three for a product.
_MULTIPLY_ADDS = {"Tf32x3": 1024 / 3, "Tf32": 1024.0, "Mma16bit": 2048.0, "Dmma": 256.0, "Ffma": 32.0}
_WGMMA_ADDS = {"Wgmma16bit": 256.0, "WgmmaTf32": 128.0, "WgmmaTf32x3": 128 / 3}  # for each column of the tile


def source_digest() -> str:
    """Of the code of every kernel that has a main loop, without comments."""
    texts = (loader.source(f"{kernel}.cu", {}) for kernel in _KERNELS)
    code = " ".join(re.sub("//.*", "", "".join(texts)).split())
    return sha256(code.encode()).hexdigest()[:16]


def _convolution(kernel: int) -> ConvGeometry:
    x_shape, w_shape = (32, 256, 56, 56), (256, 256, kernel, kernel)
    return ConvGeometry.of("conv2d", x_shape, w_shape, stride=1, padding=kernel // 2, dilation=1, groups=1)


def _products() -> Iterator[Product]:
    """Of every kind that has a main loop of its own."""
    for a_k_major in (True, False):
        for b_k_major in (True, False):
            yield Product(4096, 4096, 4096, 1, a_k_major, b_k_major)
    for word in (1, 2, 4, 8):
        for k_major in (False, True):
            yield Product(4096, 4096, 4096, 1, k_major, True, word)
            yield Product(4096, 4096, 4096, 1, k_major, k_major, channels=word)
    for kernel in (3, 4, 5):
        for k_major in (False, True):
            yield Product(4096, 4096, 4096, 1, k_major, True, 1, _convolution(kernel))


def _policies(sm: int) -> Iterator[tuple[str, str]]:
    """Every policy for every size of an element, as far as architectures from sm / 10 on, up to the next, take it."""
    gpu = compute_capability(sm)
    yield "float32", "Ffma"
    yield "float64", "Ffma"
    if gpu.mma_tf32:
        yield from (("float32", "Tf32"), ("float32", "Tf32x3"))
    yield "float16", "Mma16bit"
    if gpu.wgmma:
        yield from (("float16", "Wgmma16bit"), ("float32", "WgmmaTf32"), ("float32", "WgmmaTf32x3"))
    if not gpu.mma_bfloat16:
        yield "bfloat16", "Ffma"
    if gpu.mma_float64:
        yield "float64", "Dmma"


def configurations(sm: int) -> dict[str, Configuration]:
    """One for each row of the table that only its main loop has, by a name that tells them apart."""
    found: dict[str, Configuration] = {}
    for dtype, multiply in _policies(sm):
        for product in _products():
            for c in candidates_by(multiply, product, dtype, Architecture(sm, 132)):
                if c.splits == 1 and (multiplies_its_own_way(c) or c.threads == 256):
                    found.setdefault(f"{multiply_name(c)} {fetched(c)}", c)
    return found


def fetched(c: Configuration) -> str:
    """The row of the words that are counted in this configuration: A's, or B's where they are an image's."""
    if source_of_b(c) == "CornerRows":
        return fetch_name("CornerRows", loops.word_bytes_of_b(c))
    return fetch_name(source_of_a(c), loops.word_bytes(c))


def multiplies_its_own_way(c: Configuration) -> bool:
    """Not as a product of matrices, all of which are measured."""
    if c.product.channels:
        return False
    return c.halo is not None or c.product.gathered == 0 or (c.multiply == "WgmmaTf32" and c.product.gathered == 1)


def text(c: Configuration) -> str:
    """The kernel of a configuration, with the widest words that it may have."""
    word = 16 // c.itemsize
    defines = {**c.defines, "A_VECTOR": c.vector_a or word, "B_VECTOR": c.vector_b(word), "C_VECTOR": c.vector_c(0)}
    conv = {"AXES": 2, "BIAS_ALONG_M": 0}
    if isinstance(c, HaloConfiguration):
        return loader.source("conv_halo.cu", {**defines, **conv})
    if isinstance(c, WeightHaloConfiguration):
        return loader.source("conv_weight_grad_halo.cu", {**defines, **conv, "B_VECTOR": word, "BIAS_GRAD": 0})
    if c.product.gathered:
        name = "conv_weight_grad.cu" if c.product.a_k_major else "conv_forward.cu"
        return loader.source(name, {**defines, **conv, "POINTWISE": 0, "BIAS_GRAD": 0})
    if c.product.channels:
        by_row = source_of_b(c) == "CornerRows"
        image = {"B_VECTOR": min(word, c.product.channels)} if by_row else {"A_VECTOR": min(word, c.product.channels)}
        name = "conv_forward_nhwc.cu" if by_row else "conv_weight_grad_nhwc.cu"
        return loader.source(name, {**defines, **conv, **image, "BIAS_ALONG_M": int(by_row), "BIAS_GRAD": 0})
    majors = {"A_K_MAJOR": int(c.product.a_k_major), "B_K_MAJOR": int(c.product.b_k_major)}
    return loader.source("linear.cu", {**defines, **majors, "BIAS_ALONG_M": 0, "BIAS_GRAD": 0})


def measured(c: Configuration) -> sass.Step:
    """A step of its main loop in the compiled kernel."""
    products = c.tile.warp_m * c.tile.warp_n * c.k
    per_instruction = c.tile.warp_n * _WGMMA_ADDS[c.multiply] if c.wgmma else _MULTIPLY_ADDS[c.multiply]
    if c.multiply == "Mma16bit" and not c.architecture.capability.cp_async:
        per_instruction /= 2  # the smaller instruction
    return sass.main_loop(text(c), c.architecture.sm, products / per_instruction)


def rows(sm: int) -> dict[str, tuple[float, ...]]:
    """The table's rows for compute capability sm / 10."""
    chosen = configurations(sm)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        steps = dict(zip(chosen, pool.map(measured, chosen.values()), strict=True))
    found: dict[str, tuple[float, ...]] = {}
    for name, c in chosen.items():
        if multiplies_its_own_way(c):
            one = steps[name]
            found[multiply_name(c)] = one.idle_slots, one.idle_shared_clocks, one.registers
    words: dict[str, Cost] = {}
    for wanted in ("KMajor", "RowMajor", ""):  # what follows needs what comes before
        for name, c in chosen.items():
            row = fetched(c)
            if row not in words and (wanted == source_of_a(c) or not wanted):
                words[row] = _word(c, steps[name], Cost(*found[multiply_name(c)][:2]), words)
    return found | {name: tuple(word) for name, word in words.items()}


def _word(c: Configuration, one: sass.Step, multiplying: Cost, words: dict[str, Cost]) -> Cost:
    """Fetching a word of an image, or of A: what a step costs more than multiplying, without the words of the other
    operand, a matrix, as KMajor's are."""
    fetching = Cost(one.slots, one.shared_clocks) + multiplying.times(-1)
    a_words = loops.words_of_a(c) if not isinstance(c, HaloConfiguration) else 1.0
    b_words = loops.words_of_b(c)
    if fetched(c) == fetch_name("KMajor", 16):
        return fetching.times(1 / (a_words + b_words))
    of_image, of_matrix = (b_words, a_words) if source_of_b(c) == "CornerRows" else (a_words, b_words)
    return (fetching + words[fetch_name("KMajor", 16)].times(-of_matrix)).times(1 / of_image)


def table(by_sm: Mapping[int, Mapping[str, tuple[float, ...]]]) -> str:
    """The file's text: a row for each name, a column for each compute capability."""
    names = dict.fromkeys(name for found in by_sm.values() for name in found)
    lines = ["\t".join(["slots shared-clocks registers", *map(str, by_sm)])]
    for name in names:
        cells = (" ".join(f"{number:.4g}" for number in found.get(name, ())) for found in by_sm.values())
        lines.append("\t".join([name, *cells]))
    return "\n".join([f"# {source_digest()}", *lines, ""])


def main() -> None:
    if sass.tool() is None:
        raise SystemExit(f"nvdisasm is missing: pip install nvidia-cuda-nvdisasm, or name it by {sass.VARIABLE}")
    save(loops.FILE, table({sm: rows(sm) for sm in ARCHITECTURES}))


if __name__ == "__main__":
    main()
