"""Resizing of images, to more pixels or fewer, and its gradient."""

from __future__ import annotations

from .. import checks
from ..dispatch import Paths
from ..types import A, IntOrPair, Shape
from .geometry import ResizeGeometry
from .path import ResizePath

path_of = Paths[ResizePath]("resize").of


def upsample(x: A, size: IntOrPair, mode: str = "nearest", align_corners: bool = False) -> A:
    """Images resized to `size`, to more pixels or to fewer.

    x: (N, C, H, W), of NumPy or CuPy, float16, bfloat16, float32 or float64. size: an int or an (h, w) pair. mode:
    'nearest' takes x[floor(p H/P)] for row p of P, and columns alike; 'bilinear' mixes the two nearest rows and columns
    of where p lies: max(0, (p + 1/2) H/P - 1/2), or with align_corners p (H - 1)/(P - 1), so that corners fall on
    corners. These are the formulas of PyTorch (aten/src/ATen/native/UpSample.h), worked out in whole numbers; there H/P
    is rounded to float32 first, and for one pair of sizes in a hundred some nearest pixel is the one before.
    Returns y (N, C, P, Q). What has no share in an element does not reach it, infinities and NaN included.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> x = np.array([[[[0.0, 4.0]]]])
    >>> upsample(x, (1, 4)), upsample(x, (1, 4), "bilinear"), upsample(x, (1, 3), "bilinear", align_corners=True)
    (array([[[[0., 0., 4., 4.]]]]), array([[[[0., 1., 3., 4.]]]]), array([[[[0., 2., 4.]]]]))
    """
    (x,) = checks.arrays("upsample", x=x)
    geometry = ResizeGeometry.of("upsample", x.shape, size=size, mode=mode, align_corners=align_corners)
    return path_of(x).upsample(x, geometry)


def upsample_grad(dy: A, x_shape: Shape, mode: str = "nearest", align_corners: bool = False) -> A:
    """The gradient of upsample: each pixel of x gets dy of all that it has a share in, times the share.

    dy: (N, C, P, Q). x_shape: (N, C, H, W) of the forward input. mode, align_corners: as upsample was given.
    Returns dx (N, C, H, W), whose sums are in a fixed order.
    Raises ValueError for shapes and options and TypeError for dtypes and array kinds, before any work.

    >>> import numpy as np
    >>> upsample_grad(np.ones((1, 1, 1, 4)), (1, 1, 1, 2))
    array([[[[2., 2.]]]])
    """
    operation = "upsample_grad"
    (dy,) = checks.arrays(operation, dy=dy)
    checks.shape(operation, "dy.shape", dy.shape, ("N", "C", "P", "Q"))
    geometry = ResizeGeometry.of(
        operation, x_shape, size=dy.shape[2:], mode=mode, align_corners=align_corners, name="x_shape"
    )
    checks.has_shape(operation, "dy", dy, geometry.y_shape, "(N, C, P, Q)")
    return path_of(dy).upsample_grad(dy, geometry)
