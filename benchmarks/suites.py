"""The shapes that are benchmarked, as data: one layer a line, in one notation, each with its source.

    conv    C,H[xW]->K RxS/stride [pPADDING] [dDILATION] [gGROUPS] [relu] [@N,...]
    pool    C,H[xW] RxS/stride [pPADDING] [@N,...]
    linear  F->O [relu] [@N,...]

A window of S, RxS or TxRxS says whether there are one, two or three axes; one number for several axes is that of each.
    activation, norm  C,H[xW] [@N,...]
    loss  CLASSES [@N,...]
    optimizer  ELEMENTS @1

`*` after a row puts it into the quick subset; `# ...` says where the layer comes from, where the suite's own source
does not say it all. A row without @N takes the batch of the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..kernels.layout import NCHW, NHWC, in_layout
from ..kernels.operation import Operation, takes_options

Extents = tuple[int, ...]

_LAYER = re.compile(
    r"(?P<c>\d+)(,(?P<extents>\d+(x\d+)*))?(->(?P<k>\d+))?"
    r"( (?P<window>\d+(x\d+)*)/(?P<stride>\d+(x\d+)*))?"
    r"( p(?P<padding>\d+(x\d+)*))?( d(?P<dilation>\d+))?( g(?P<groups>\d+))?(?P<relu> relu)?"
)


@dataclass(frozen=True)
class Shape:
    """One layer of a suite: `text` is its notation without the batch, `batch` is None where the run decides."""

    suite: str
    family: str
    text: str
    batch: int | None
    quick: bool
    source: str


@dataclass(frozen=True)
class Notation:
    """What a shape's notation says; kernel, stride and padding are those of a window, each with one for each axis."""

    C: int
    extents: Extents
    K: int
    kernel: Extents
    stride: Extents
    padding: Extents
    dilation: int
    groups: int
    relu: bool = False

    @classmethod
    def parse(cls, text: str) -> Notation:
        """ValueError where `text` is not in the notation."""
        match = _LAYER.fullmatch(text)
        if match is None:
            raise ValueError(f"shape is {text!r}; expected the notation 'C,HxW->K RxS/stride pP dD gG'")
        field = match.groupdict()
        kernel = _numbers(field["window"] or "1x1")

        def each(text: str) -> Extents:
            numbers = _numbers(text)
            if len(numbers) not in (1, len(kernel)):
                raise ValueError(f"shape has {text} for {len(kernel)} axes; expected one number, or one for each")
            return numbers * (len(kernel) if len(numbers) == 1 else 1)

        return cls(
            C=int(field["c"]),
            extents=each(field["extents"] or "1"),
            K=int(field["k"] or 0),
            kernel=kernel,
            stride=each(field["stride"] or "1"),
            padding=each(field["padding"] or "0"),
            dilation=int(field["dilation"] or 1),
            groups=int(field["groups"] or 1),
            relu=field["relu"] is not None,
        )

    @property
    def rank(self) -> int:
        return len(self.kernel)

    @property
    def depthwise(self) -> bool:
        return self.groups == self.C > 1

    def arguments(
        self, family: str, batch: int, layout: str = NCHW
    ) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
        """The input's shape, the weights' shape (none for a pool), and the options of the family's operations.

        layout: of the images of a convolution, a pool or a normalisation.
        """
        last = layout == NHWC
        x_shape, chosen = (batch, self.C, *self.extents), {"layout": layout} if last else {}
        activation = {"activation": "relu"} if self.relu else {}
        window = {"stride": self.stride, "padding": self.padding}
        if family == "pool":
            return in_layout(x_shape, last), (), {"kernel_size": self.kernel, **window, **chosen}
        if family == "conv":
            w_shape = in_layout((self.K, self.C // self.groups, *self.kernel), last)
            return (
                in_layout(x_shape, last),
                w_shape,
                {**window, "dilation": self.dilation, "groups": self.groups} | activation | chosen,
            )
        if family == "norm":
            return in_layout(x_shape, last), (), chosen
        if family == "activation":
            return x_shape, (), {}
        if family in ("loss", "optimizer"):
            return (batch, self.C), (), {}
        return x_shape if family == "training" else (batch, self.C), (self.K, self.C), activation


def _numbers(text: str) -> Extents:
    return tuple(map(int, text.split("x")))


def _rows(suite: str, family: str, source: str, rows: str) -> Iterator[Shape]:
    for line in filter(None, map(str.strip, rows.splitlines())):
        layer, _, remark = (part.strip() for part in line.partition("#"))
        text, _, batches = layer.removesuffix("*").strip().partition(" @")
        where = f"{source}, {remark}" if source and remark else source or remark
        for batch in map(int, batches.split(",")) if batches else (None,):
            yield Shape(suite, family, text, batch, layer.endswith("*"), where)


BACKPROP = "the network of `backstride explain`"

SHAPES: tuple[Shape, ...] = (
    *_rows("backprop", "conv", BACKPROP, "3,29x28->2 3x2/2 @10 *  # layer 2"),
    *_rows("backprop", "pool", BACKPROP, "2,14 2x2/3 @10 *  # layer 3"),
    *_rows("backprop", "linear", BACKPROP, "50->32 @10 *  # layer 4"),
    *_rows(
        "lenet",
        "conv",
        "",
        """
        1,28->6 5x5/1 p2 @64 *       # LeNet-5 C1 (LeCun et al. 1998)
        6,14->16 5x5/1 @64 *         # LeNet-5 C3
        3,32->32 3x3/1 p1 @64 *      # CIFAR-10, first layer of a small CNN
        32,16->64 3x3/1 p1 @64 *     # CIFAR-10, second layer of a small CNN
        16,32->16 3x3/1 p1 @128      # CIFAR-10, ResNet-20 (He et al. 2016, section 4.2)
        32,16->32 3x3/1 p1 @128      # CIFAR-10, ResNet-20
        64,8->64 3x3/1 p1 @128       # CIFAR-10, ResNet-20
    """,
    ),
    *_rows(
        "resnet50",
        "conv",
        "ResNet-50 v1.5 (He et al. 2016; strides as torchvision)",
        """
        3,224->64 7x7/2 p3 *
        64,56->64 1x1/1
        64,56->64 3x3/1 p1 *
        64,56->256 1x1/1 *
        256,56->64 1x1/1
        256,56->128 1x1/1
        128,56->128 3x3/2 p1 *
        128,28->512 1x1/1
        256,56->512 1x1/2 *
        512,28->128 1x1/1
        128,28->128 3x3/1 p1 *
        512,28->256 1x1/1
        256,28->256 3x3/2 p1
        256,14->1024 1x1/1 *
        512,28->1024 1x1/2
        1024,14->256 1x1/1
        256,14->256 3x3/1 p1 *
        1024,14->512 1x1/1
        512,14->512 3x3/2 p1
        512,7->2048 1x1/1
        1024,14->2048 1x1/2
        2048,7->512 1x1/1
        512,7->512 3x3/1 p1 *
    """,
    ),
    *_rows(
        "vgg16",
        "conv",
        "VGG-16 (Simonyan and Zisserman 2015)",
        """
        3,224->64 3x3/1 p1
        64,224->64 3x3/1 p1
        64,112->128 3x3/1 p1
        128,112->128 3x3/1 p1
        128,56->256 3x3/1 p1
        256,56->256 3x3/1 p1
        256,28->512 3x3/1 p1 *
        512,28->512 3x3/1 p1
        512,14->512 3x3/1 p1
    """,
    ),
    *_rows(
        "alexnet",
        "conv",
        "AlexNet (Krizhevsky 2014, as torchvision)",
        """
        3,224->64 11x11/4 p2 *
        64,27->192 5x5/1 p2 *
        192,13->384 3x3/1 p1
        384,13->256 3x3/1 p1
        256,13->256 3x3/1 p1
    """,
    ),
    *_rows(
        "mobilenetv2",
        "conv",
        "MobileNetV2 (Sandler et al. 2018)",
        """
        3,224->32 3x3/2 p1
        32,112->32 3x3/1 p1 g32 *
        32,112->16 1x1/1
        16,112->96 1x1/1
        96,112->96 3x3/2 p1 g96
        96,56->24 1x1/1
        24,56->144 1x1/1 *
        144,56->144 3x3/1 p1 g144
        144,56->24 1x1/1
        144,56->144 3x3/2 p1 g144 *
        144,28->32 1x1/1
        32,28->192 1x1/1
        192,28->192 3x3/1 p1 g192
        192,28->32 1x1/1
        192,28->192 3x3/2 p1 g192
        192,14->64 1x1/1
        64,14->384 1x1/1
        384,14->384 3x3/1 p1 g384 *
        384,14->64 1x1/1
        384,14->96 1x1/1
        96,14->576 1x1/1
        576,14->576 3x3/1 p1 g576
        576,14->96 1x1/1
        576,14->576 3x3/2 p1 g576
        576,7->160 1x1/1
        160,7->960 1x1/1
        960,7->960 3x3/1 p1 g960
        960,7->160 1x1/1
        960,7->320 1x1/1
        320,7->1280 1x1/1
    """,
    ),
    *_rows(
        "dilated",
        "conv",
        "DeepLabv3 on ResNet-50, output stride 8 (Chen et al. 2017)",
        """
        256,28->256 3x3/1 p2 d2 *
        512,28->512 3x3/1 p4 d4
    """,
    ),
    *_rows(
        "deepbench",
        "conv",
        "DeepBench training (github.com/baidu-research/DeepBench, conv_problems.h)",
        """
        1,161x700->32 5x20/2 @4,8,16,32
        32,79x341->32 5x10/2 @4,8,16,32
        1,48x480->16 3x3/1 p1 @16 *
        16,24x240->32 3x3/1 p1 @16
        32,12x120->64 3x3/1 p1 @16
        64,6x60->128 3x3/1 p1 @16
        3,108->64 3x3/2 p1 @8
        64,54->64 3x3/1 p1 @8
        128,27->128 3x3/1 p1 @8
        128,14->256 3x3/1 p1 @8
        256,7->512 3x3/1 p1 @8
        3,224->64 3x3/1 p1 @8,16
        64,112->128 3x3/1 p1 @8,16
        128,56->256 3x3/1 p1 @8,16
        256,28->512 3x3/1 p1 @8,16
        512,14->512 3x3/1 p1 @8,16
        512,7->512 3x3/1 p1 @8,16
        3,224->64 7x7/2 p3 @16
        192,28->32 5x5/1 p2 @16
        192,28->64 1x1/1 @16
        512,14->48 5x5/1 p2 @16
        512,14->192 1x1/1 @16
        832,7->256 1x1/1 @16
        832,7->128 5x5/1 p2 @16
        64,56->64 3x3/1 p1 @8,16
        64,56->256 1x1/2 @8,16
        128,28->128 3x3/1 p1 @8,16
        128,28->512 1x1/2 @8,16
        256,14->256 1x1/1 @8,16
        256,14->256 3x3/1 p1 @8,16
        256,14->1024 1x1/2 @8,16
        512,7->512 1x1/1 @8,16
        2048,7->512 1x1/2 p3 @8,16
        1,161x700->64 5x5/2 p1 @16
        64,80x350->64 3x3/1 p1 @16
        64,80x350->128 5x5/2 p1 @16
        128,40x175->128 3x3/1 p1 @16
        128,40x175->256 5x5/2 p1 @16
        256,20x84->256 3x3/1 p1 @16
        256,20x84->512 5x5/2 p1 @16
        512,10x42->512 3x3/1 p1 @16
        64,112->64 1x1/1 @8,16
        64,56->256 1x1/1 @8,16
        256,56->64 1x1/1 @8,16
        256,56->128 1x1/2 @8,16
        128,28->512 1x1/1 @8,16
        512,28->128 1x1/1 @8,16
        512,28->256 1x1/2 @8,16
        256,14->1024 1x1/1 @8,16
        512,28->1024 1x1/2 @8,16
        1024,14->256 1x1/1 @8,16
        1024,14->512 1x1/2 @8,16
        512,7->2048 1x1/1 @8,16
        1024,14->2048 1x1/2 @8,16
        2048,7->512 1x1/1 @8,16
    """,
    ),
    *_rows(
        "pooling",
        "pool",
        "",
        """
        6,28 2x2/2 @64 *        # LeNet-5 S2
        32,32 2x2/2 @64 *       # CIFAR-10, first pooling of a small CNN
        64,112 3x3/2 p1 *       # ResNet-50, after conv1
        64,55 3x3/2             # AlexNet, after conv1
        256,13 3x3/2            # AlexNet, after conv5
        64,224 2x2/2            # VGG-16, first
        512,14 2x2/2            # VGG-16, last
        192,28 3x3/1 p1 *       # GoogLeNet, pooling branch of inception 3a
        2048,7 7x7/1 *          # ResNet-50, global pooling
    """,
    ),
    *_rows(
        "lines",
        "conv",
        "",
        """
        80,3000->512 3/1 p1 @8           # Whisper, first convolution (Radford et al. 2022)
        512,3000->512 3/2 p1 @8          # Whisper, second convolution
        512,1599->512 3/2 @8             # wav2vec 2.0, feature encoder (Baevski et al. 2020)
        256,500->256 31/1 p15 g256 @16 *  # Conformer, depthwise (Gulati et al. 2020)
    """,
    ),
    *_rows(
        "volumes",
        "conv",
        "",
        """
        3,16x112x112->64 3x3x3/1 p1 @4   # C3D, first convolution
        64,8x56x56->128 3x3x3/1 p1 @4    # C3D (Tran et al. 2015)
        32,32->64 3x3x3/2 p1 @4 *        # 3-D U-Net (Cicek et al. 2016), sizes of a patch of 32
        3,2x14x14->1280 2x14x14/2x14x14 @256  # Qwen2-VL, patches (Wang et al. 2024)
    """,
    ),
    *_rows(
        "volumes",
        "pool",
        "",
        """
        64,16x112x112 1x2x2/1x2x2 @4     # C3D, first pooling
        128,16x28x28 2x2x2/2 @4 *        # C3D's other poolings
    """,
    ),
    *_rows("patches", "conv", "", "3,224->768 16x16/16 @8 *  # ViT-B/16, patches (Dosovitskiy et al. 2021)"),
    *_rows(
        "linear",
        "linear",
        "",
        """
        400->120 @64 *          # LeNet-5 C5
        4096->10 @64 *          # CIFAR-10, classifier of a small CNN
        2048->1000 @256 *       # ResNet-50 classifier
        1280->1000 @64          # MobileNetV2 classifier
        9216->4096 @128         # AlexNet fc6
        4096->4096 @64 *        # AlexNet and VGG-16 fc7
        25088->4096 @64         # VGG-16 fc6
    """,
    ),
    *_rows(
        "fused",
        "conv",
        "with the ReLU that follows",
        """
        64,56->64 3x3/1 p1 relu *
        256,14->256 3x3/1 p1 relu
        256,56->64 1x1/1 relu *
        144,56->144 3x3/1 p1 g144 relu
    """,
    ),
    *_rows(
        "fused",
        "linear",
        "with the ReLU that follows",
        """
        784->400 relu @64
        1024->1024 relu @128 *
    """,
    ),
    *_rows(
        "activations",
        "activation",
        "",
        """
        64,32 @64 *             # CIFAR-10, first layers of a small CNN
        64,112                  # ResNet-50, after conv1
        512,14                  # VGG-16, last convolution
    """,
    ),
    *_rows(
        "norms",
        "norm",
        "ResNet-50, after convolutions",
        """
        64,56 *
        256,14 *
        512,7
    """,
    ),
    *_rows("losses", "loss", "", "10 @64 *  # CIFAR-10"),
    *_rows("losses", "loss", "", "1000 @256 *  # ImageNet"),
    *_rows("optimizers", "optimizer", "", "1048576 @1 *  # a layer of 1024 to 1024 features"),
    *_rows("optimizers", "optimizer", "", "11689512 @1  # as many as ResNet-18 has"),
    *_rows(
        "training",
        "training",
        "two convolutions, max pooling, a classifier; SGD with momentum",
        """
        3,32->10 @64 *          # CIFAR-10's sizes
        1,28->10 @64            # MNIST's sizes
    """,
    ),
)


FAMILIES = {
    "conv": ("conv",),
    "pool": ("max_pool", "avg_pool"),
    "linear": ("linear",),
    "activation": ("relu", "relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "hardswish"),
    "norm": ("batch_norm",),
    "loss": ("cross_entropy",),
    "optimizer": ("sgd_step", "adam_step"),
    "training": ("training",),
}
"""Of a shape, those of the operations that are measured on it (kernels/operation.py)."""


def measures(shape: Shape, operation: Operation, layout: str = NCHW) -> bool:
    """Whether the operation is one of the shape's, has that layout and takes its options."""
    family = operation.family
    if family.name not in FAMILIES[shape.family] or (layout != NCHW and "layout" not in family.options):
        return False
    *_, options = Notation.parse(shape.text).arguments(shape.family, 1, layout)
    return takes_options(operation, options)


def suite_names() -> list[str]:
    return list(dict.fromkeys(shape.suite for shape in SHAPES))


def select(suites: Iterable[str] = (), quick: bool = False) -> list[Shape]:
    """The shapes of the named suites (of all of them where none is named), or their quick subset.

    ValueError for a name that is none of suite_names().
    """
    wanted = set(suites)
    for name in wanted.difference(suite_names()):
        raise ValueError(f"suite is {name!r}; expected one of {', '.join(suite_names())}")
    return [s for s in SHAPES if (not wanted or s.suite in wanted) and (s.quick or not quick)]
