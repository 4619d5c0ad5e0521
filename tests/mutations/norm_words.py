"""Faults planted in the kernels of batch normalisation by words of channels."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from backstride import kernels
from backstride.kernels.layout import NHWC
from backstride.kernels.norm import words

from .planted import NAN, RACE, WRONG, Planted, integers, shown

NORM_WORDS = {
    "words past the last": ("word_statistics", "channel >= matrix.channels || ", "", "out-of-bounds"),
    "a sharer never heard": ("word_statistics", "int half = (sharers + 1) / 2;", "int half = sharers / 2;", WRONG),
    "pixels of the next part": ("word_statistics", "min(first + matrix.part_pixels, ", "max(0, ", WRONG),
    "means of pixels that differ": ("word_statistics", "mul_rn(between, between)", "(Acc)0", WRONG),
    "pixels past the last": (
        "word_statistics",
        "pixel + (PIXELS - 1) * sharers < share.last",
        "pixel < share.last",
        f"out-of-bounds|{NAN}|{WRONG}",
    ),
    "a part never heard": ("word_moments", "part < params.parts", "part < params.parts - 1", WRONG),
    "channels past the last": ("word_moments", "if (channel < params.channels) {", "{", "out-of-bounds"),
    "a mean above the first element": ("word_moments", "add_rn(shift, all.mean())", "all.mean()", WRONG),
    "numbers of a word's first channel": ("word_normalise", "from[channel + j]", "from[channel]", WRONG),
    "words of the first channels": ("word_normalise", "* matrix.channels + share.channel", "* matrix.channels", NAN),
    "the residual after ReLU": ("word_normalise", "if constexpr (RELU) y[j] = relu(y[j]);", "", WRONG),
    "sums read before all are there": (
        "word_sums",
        "__syncthreads();\n        if (sharer + half",
        "if (sharer + half",
        RACE,
    ),
    "a part's sums in the place of the first": ("word_sums", "(long long)share.part * ", "0 * ", f"{NAN}|{WRONG}"),
    "dy where ReLU gave 0": ("word_sums", "passes(y[j]) ? dz[j] : 0", "dz[j]", WRONG),
    "what moves the deviation": (
        "word_input_grad",
        "-mul_rn(word.normalised[j], of_product[j])",
        "0",
        WRONG,
    ),
}


def evidence_of_norm_words(cupy: ModuleType) -> str:
    """What batch normalisation with channels last shows, of two blocks of words and of several parts."""
    x, residual, gamma = integers(2, 12, 11, 132) + 9, integers(2, 12, 11, 132)[::-1].copy(), integers(132) + 6
    x, beta = x + np.arange(132, dtype="f4") % 7, integers(132)
    finished = {"activation": "relu", "layout": NHWC}
    y, mean, var = kernels.batch_norm(x, gamma, beta, **finished)

    def grads(dy: Any, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, y: Any) -> tuple[Any, ...]:
        return kernels.batch_norm_grads(dy, x, gamma, mean, var, beta=beta, y=y, **finished)

    calls: tuple[tuple[Any, ...], ...] = (
        (lambda x, g, b, r: kernels.batch_norm(x, g, b, residual=r, **finished)[0], x, gamma, beta, residual),
        *((lambda *a, i=i: grads(*a)[i], residual, x, gamma, beta, mean, var, y) for i in range(3)),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(words, "ENOUGH_ELEMENTS", 0)
        return next(filter(None, (shown(cupy, *each, exact=False) for each in calls)), "")


PLANTED = {
    "normalisation by words": Planted(NORM_WORDS, evidence_of_norm_words),
}
