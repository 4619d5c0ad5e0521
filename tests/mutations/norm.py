"""Faults planted in the kernels of normalisation: of whole groups and of parts of them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from backstride import kernels

from .planted import NAN, RACE, WRONG, Planted, integers, shown

FIRST_OF_IMAGE = "split_off(image, affine.groups) * (int)affine.channels.divisor + "

NORM = {
    "half of the lanes never heard": ("normalise", "mask > 0; mask /= 2)", "mask > 1; mask /= 2)", WRONG),
    "a warp never heard": ("normalise", "int warp = 1;", "int warp = 2;", WRONG),
    "warps merged before all are there": ("normalise", "__syncthreads();\n        mine", "mine", RACE),
    "means of parts that differ": ("normalise", "b.squares), of_means)", "b.squares), 0)", WRONG),
    "a part never heard": ("normalise", "part < params.parts", "part < params.parts - 1", WRONG),
    "vectors past the last": (
        "normalise",
        "i + (VECTORS - 1) * LANES < share.last",
        "i < share.last",
        "out-of-bounds read",
    ),
    "vectors of the next part": ("norm_statistics", "min(first + groups.part_vectors, ", "max(0, ", WRONG),
    "groups past the last": (
        "normalise",
        "if (group >= groups.number) return {0, part, 0, 0, false};",
        "",
        "out-of-bounds",
    ),
    "a channel for every vector": ("normalise", "quotient(at, affine.plane)", "at", f"out-of-bounds|{WRONG}"),
    "channels of an image's first group": ("normalise", FIRST_OF_IMAGE, "", WRONG),
    "the residual after ReLU": ("normalise", "if constexpr (RELU) y[j] = relu(y[j]);", "", WRONG),
    "dy where ReLU gave 0": ("norm_input_grad", "passes(y[j]) ? dz[j] : 0", "dz[j]", WRONG),
    "ReLU of an output without beta": (
        "norm_sums",
        "parameters.gamma[j], parameters.beta[j])",
        "parameters.gamma[j], 0)",
        WRONG,
    ),
    "what moves the deviation": ("norm_input_grad", "-mul_rn(vector.normalised[j], of_product)", "0", WRONG),
    "sums of warps added before all are there": ("norm_input_grad", "__syncthreads();\n        mine", "mine", RACE),
    "statistics of the first image": ("norm_sums", "(long long)place.run * ", "0 * ", WRONG),
    "a part's sums in the place of the first": (
        "norm_sums",
        "params.product[place]",
        "params.product[share.group]",
        NAN,
    ),
}


def evidence_of_norm(cupy: ModuleType) -> str:
    """What normalisation shows, in one part and in several, of every layout of gamma and beta."""
    x, dy, residual = (
        integers(5, 2, 29, 31),
        integers(5, 2, 29, 31)[::-1].copy(),
        integers(5, 2, 29, 31)[..., ::-1].copy(),
    )
    few, rows, gamma = integers(33, 16, 3), integers(33, 16)[::-1].copy(), integers(16) + 6
    mean, var = kernels.batch_norm(x)[1:]
    group_mean, group_var = kernels.group_norm(few, 8)[1:]
    gamma2, beta2 = gamma[:2].copy(), np.array([9, -9], "f4")
    y = kernels.batch_norm(x, gamma2, beta2, activation="relu")[0]

    def grads(dy: Any, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, y: Any) -> tuple[Any, ...]:
        return kernels.batch_norm_grads(dy, x, gamma, mean, var, activation="relu", beta=beta, y=y)

    def whole(dy: Any, x: Any, gamma: Any, beta: Any, mean: Any, var: Any) -> tuple[Any, ...]:
        return kernels.batch_norm_grads(dy, x, gamma, mean, var)

    small, small_dy = x[:, :, :9, :9].copy(), dy[:, :, :9, :9].copy()
    small_mean, small_var = kernels.batch_norm(small)[1:]
    finished = {"activation": "relu"}
    calls: tuple[tuple[Any, ...], ...] = (
        (lambda x, g, b, r: kernels.batch_norm(x, g, b, residual=r, **finished)[0], x, gamma2, beta2, residual),
        (lambda x, g, b: kernels.batch_norm(x, g, b)[0], small, gamma2, beta2),
        (lambda x: kernels.batch_norm(x)[0], few),
        (lambda x, g: kernels.group_norm(x, 8, g, g)[0], few, gamma),
        (lambda x, g: kernels.group_norm(x, 4, g, g)[0], rows, gamma),
        *((lambda *a, i=i: grads(*a)[i], dy, x, gamma2, beta2, mean, var, y) for i in range(3)),
        (lambda *a: whole(*a)[0], small_dy, small, gamma2, beta2, small_mean, small_var),
        *(
            (
                lambda *a, i=i: kernels.group_norm_grads(a[0], a[1], 8, *a[2:])[i],
                few[::-1].copy(),
                few,
                gamma,
                group_mean,
                group_var,
            )
            for i in range(3)
        ),
    )
    return next(filter(None, (shown(cupy, *each, exact=False) for each in calls)), "")


PLANTED = {
    "normalisation": Planted(NORM, evidence_of_norm, launched=("split_sum",)),
}
