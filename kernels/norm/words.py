"""Batch normalisation of a matrix of pixels by channels on the GPU, by words of neighbouring channels: sums over the
pixels are cut into parts by the shape alone, so that every GPU gives the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..cuda.runtime.arrays import ALIGNMENT
from ..cuda.runtime.launch import launch
from ..cuda.runtime.loader import C_TYPES, fast_div
from ..cuda.runtime.replay import empty
from ..cuda.sums import sum_partials
from ..cuda.windows import WARP, largest_power_of_two
from ..dtypes import accumulation_dtype
from .sharing import BLOCKS, THREADS

_BLOCKS_PER_SM = 2
"""What the compiler may count on: a word of eight channels takes more than 64 registers."""

_LEAST_PIXELS = 8
"""Of a thread."""

ENOUGH_ELEMENTS = 2**18
"""Of fewer a pass is as short as the launches that words take beside those of normalise.cu and norm_input_grad.cu."""


@dataclass(frozen=True)
class Matrix:
    """The struct Matrix of channel_words.cuh, and its VEC."""

    pixels: int
    channels: int
    vec: int
    words: int  # of a block
    parts: int

    @classmethod
    @cache
    def of(cls, pixels: int, channels: int, itemsize: int) -> Matrix:
        vec = largest_power_of_two(channels, ALIGNMENT // itemsize)
        word_blocks = -(-channels // (vec * WARP))
        words = -(-channels // (vec * word_blocks))
        most = min(BLOCKS // word_blocks, pixels // (_LEAST_PIXELS * (THREADS // words)))
        part_pixels = -(-pixels // max(1, most))
        return cls(pixels, channels, vec, words, -(-pixels // max(1, part_pixels)))

    @property
    def applies(self) -> bool:
        """Whether these kernels are the faster ones, by an estimate."""
        return self.parts > 1 and self.pixels * self.channels >= ENOUGH_ELEMENTS

    @property
    def word_blocks(self) -> int:
        return -(-self.channels // (self.vec * self.words))

    def launch(
        self, name: str, dtype: np.dtype, defines: Mapping[str, object], blocks: int | None = None, **values: Any
    ) -> None:
        common = {"THREADS": THREADS, "BLOCKS_PER_SM": _BLOCKS_PER_SM, "LANES": WARP, "VEC": self.vec, "CHANNELS": 0}
        launch(
            f"{name}.cu",
            name,
            {"TYPE": C_TYPES[dtype.name], **common, **defines},
            self.word_blocks * self.parts if blocks is None else blocks,
            THREADS,
            0,
            **values,
        )

    def values(self) -> dict[str, Any]:
        return {
            "pixels": self.pixels,
            "channels": self.channels,
            "part_pixels": -(-self.pixels // self.parts),
            "word_blocks": fast_div(self.word_blocks),
            "words": fast_div(self.words),
            "sharers": THREADS // self.words,
        }


def normalise(
    matrix: Matrix,
    x: Any,
    y: Any,
    mean: Any,
    var: Any,
    affine: dict[str, Any],
    *,
    given: bool = False,
    residual: Any = None,
    relu: bool = False,
) -> None:
    """given: mean and var are, else x's are left there."""
    if not given:
        partial = empty((matrix.parts, matrix.channels, 3), mean.dtype)
        matrix.launch("word_statistics", x.dtype, {}, x=x, partial=partial, matrix=matrix.values())
        channels, blocks = matrix.channels, -(-matrix.channels * WARP // THREADS)
        counts = {"parts": matrix.parts, "channels": channels}
        matrix.launch("word_moments", x.dtype, {"VEC": 1}, blocks, x=x, partial=partial, mean=mean, var=var, **counts)
    defines = {"RESIDUAL": int(residual is not None), "RELU": int(relu)}
    output = {"x": x, "residual": residual, "y": y}
    values = {"mean": mean, "var": var, "affine": affine, "matrix": matrix.values()}
    matrix.launch("word_normalise", x.dtype, defines, output=output, **values)


def sums(
    matrix: Matrix,
    gradient: dict[str, Any],
    mask: int,
    var: Any,
    affine: dict[str, Any],
    *,
    dresidual: Any,
    dgamma: Any,
    dbeta: Any,
    dx: Any = None,
) -> None:
    """Fill dgamma and dbeta, and dx where it is given, whose mean and variance then do not depend on x."""
    x = gradient["x"]
    dz, product = (empty((matrix.parts, matrix.channels), accumulation_dtype(x.dtype)) for _ in range(2))
    matrix.launch(
        "word_sums",
        x.dtype,
        {"MASK": mask, "INFERENCE": int(dx is not None)},
        arriving={"gradient": gradient, "var": var, "affine": affine, "matrix": matrix.values()},
        dz=dz,
        product=product,
        dresidual=dresidual,
        dx=dx,
    )
    for partial, result in ((dz, dbeta), (product, dgamma)):
        sum_partials(partial, result, None, matrix.parts, (1, 1))


def input_grad(
    matrix: Matrix,
    gradient: dict[str, Any],
    mask: int,
    var: Any,
    affine: dict[str, Any],
    *,
    dx: Any,
    dgamma: Any,
    dbeta: Any,
) -> None:
    """dx, from what sums() has left."""
    arriving = {"gradient": gradient, "var": var, "affine": affine, "matrix": matrix.values()}
    values = {"dgamma": dgamma, "dbeta": dbeta, "dx": dx}
    matrix.launch("word_input_grad", gradient["x"].dtype, {"MASK": mask}, arriving=arriving, **values)
