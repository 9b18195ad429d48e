"""ResANN: a residual net with a predictor after every unit, what anytime loss weights were made for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.core.segments import InputSpec
from anytimenet.layers.heads import PooledHead
from anytimenet.layers.init import init_weights
from anytimenet.layers.transitions import between_zeros
from anytimenet.nets.arguments import check_counts, check_positive, check_word
from anytimenet.nets.chain.exits import ExitNet
from anytimenet.nets.depth.multiscale_layers import LargeImageStem
from anytimenet.nets.registry import forms_of

PAPER = "Learning Anytime Predictions in Neural Networks via Adaptive Loss Balancing"


def resnet_ann(
    num_classes: Sequence[int] = (10,),
    *,
    exits_after: Sequence[int] | None = None,
    stack: int | None = None,
    width: int = 32,
    units: Sequence[int] = (7, 7, 7),
    unit: str = "basic",
    stem: str = "cifar",
    in_channels: int = 3,
    init: str = "msra",
) -> ExitNet:
    """ResANN, with basic or bottleneck units; stage k predicts after unit `exits_after[k-1]`.

    Stem "cifar" is a 3x3 convolution, "imagenet" a 7x7 convolution with stride 2, BN, ReLU and a 3x3
    max-pooling with stride 2.

    Method card:
        Paper: Hu, Dey, Hebert and Bagnell, "Learning Anytime Predictions in Neural Networks via Adaptive
            Loss Balancing" (arXiv 1708.06832). Depth 6n + 3 for n basic units a group: 45, 81 and
            153. The ImageNet form has the units of ResNet-50 and -101.
        Shared: the stem and the units up to the first predictor by all stages, later
            units by later stages. Plain BatchNorms.
        Per stage: a predictor ReLU - global average pooling - FC, without BatchNorm.
        State: the last unit's features.
        Deviations: He initialisation over the fan-out, as in all nets here. An odd last row or column is
            kept, by the pooling as by the convolution. Of an odd number of zero channels, one more comes
            after than before. As in the authors' code the 3x3 convolution of a bottleneck has the stride, and
            its projection reads the features as they are, like the identity.

    Args:
        num_classes: classes of each label level, fine level first.
        exits_after: for each stage the number of units that it runs; None: see `stack`.
        stack: a predictor every `stack` units, counted from the last one; None: every unit, or `exits_after`.
        width: channels c of the first group; each later group has twice as many.
        units: residual units of each group.
        unit: "basic", or "bottleneck", whose features are four times as wide.
        stem: "cifar" or "imagenet".
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if `exits_after` does not increase to the number of units, it is given together with
            `stack`, a word is unknown, or a number is not positive.

    >>> net = resnet_ann(width=4, units=(2, 2, 1), stack=2)
    >>> net.num_stages, list(net.graph.exits)
    (3, ['block1', 'block3', 'block5'])
    """
    check_positive(width=width, in_channels=in_channels)
    check_word("unit", unit, ("basic", "bottleneck"))
    check_word("stem", stem, ("cifar", "imagenet"))
    counts = check_counts("units", units, "for each group the number of units")
    smallest = 2 ** (len(counts) - 1) * (4 if stem == "imagenet" else 1)
    net = ExitNet(
        LargeImageStem(in_channels, width)
        if stem == "imagenet"
        else nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
        (_basic_units if unit == "basic" else _bottleneck_units)(width, counts),
        _exits(exits_after, stack, sum(counts)),
        lambda shape: PooledHead(shape[0], num_classes),
        num_classes=num_classes,
        input_spec=InputSpec("images", in_channels, smallest),
    )
    init_weights(net, init)
    return net


class BasicUnit(nn.Module):
    """BN-ReLU-conv3x3-BN-ReLU-conv3x3-BN, added to the identity; `width` is that of its output.

    One that `shrinks` halves the image and doubles the channels: by the stride of its first convolution, and
    on the identity by a 2x2 average and zero channels, half of them before the others and half after.
    """

    folds = (("conv1", "norm2"), ("conv2", "norm3"))

    def __init__(self, width: int, *, shrinks: bool) -> None:
        super().__init__()
        before = width // 2 if shrinks else width
        self.norm1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, width, 3, 2 if shrinks else 1, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)
        self.shrinks = shrinks

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.relu_(self.norm1(x)))
        h = self.conv2(F.relu_(self.norm2(h)))
        y: Tensor = self.norm3(h) + (between_zeros(x) if self.shrinks else x)
        return y


class BottleneckUnit(nn.Module):
    """BN-ReLU-conv1x1-BN-ReLU-conv3x3-BN-ReLU-conv1x1-BN to four times `width`, added to the shortcut.

    The shortcut is the identity; where the shape changes, a 1x1 convolution and a BatchNorm.

    Args:
        channels: that the unit reads.
        width: of the 3x3 convolution, which has the stride.
        shrinks: whether the unit halves the image.
    """

    expansion = 4

    folds = (("conv1", "norm2"), ("conv2", "norm3"), ("conv3", "norm4"))

    def __init__(self, channels: int, width: int, *, shrinks: bool) -> None:
        super().__init__()
        stride, out = 2 if shrinks else 1, self.expansion * width
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.norm4 = nn.BatchNorm2d(out)
        self.shortcut: nn.Module = nn.Identity()
        if shrinks or channels != out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.relu_(self.norm1(x)))
        h = self.conv2(F.relu_(self.norm2(h)))
        h = self.conv3(F.relu_(self.norm3(h)))
        y: Tensor = self.norm4(h) + self.shortcut(x)
        return y


def _basic_units(width: int, counts: Sequence[int]) -> Iterator[nn.Module]:
    for group, count in enumerate(counts):
        for number in range(count):
            yield BasicUnit(width * 2**group, shrinks=group > 0 and number == 0)


def _bottleneck_units(width: int, counts: Sequence[int]) -> Iterator[nn.Module]:
    channels = width
    for group, count in enumerate(counts):
        for number in range(count):
            yield BottleneckUnit(channels, width * 2**group, shrinks=group > 0 and number == 0)
            channels = BottleneckUnit.expansion * width * 2**group


def _exits(exits_after: Sequence[int] | None, stack: int | None, units: int) -> Sequence[int]:
    """After which units there is a predictor: as given, or every `stack` units up to the last of `units`."""
    if exits_after is None:
        stack = 1 if stack is None else stack
        check_positive(stack=stack)
        return range((units - 1) % stack + 1, units + 1, stack)
    if stack is not None:
        raise ValueError(
            f"exits_after {exits_after!r} and stack {stack!r} both say where predictors are: "
            "give one of them, and None for the other"
        )
    return exits_after


_LARGE: dict[str, Any] = {"width": 64, "unit": "bottleneck", "stem": "imagenet"}

_form = forms_of(resnet_ann, paper=PAPER, family="resnet_ann")
_form("resnet_ann_45", (3, 32, 32), "21 predictors: n=7 c=32")()
_form("resnet_ann_81", (3, 32, 32), "39 predictors: n=13 c=32")(units=(13, 13, 13))
_form("resnet_ann_153", (3, 32, 32), "75 predictors: n=25 c=32")(units=(25, 25, 25))
_form(
    "resnet_ann_50_imagenet",
    (3, 224, 224),
    "ImageNet form, bottlenecks, 16 predictors: 3, 4, 6, 3 units c=64",
)(units=(3, 4, 6, 3), **_LARGE)
_form(
    "resnet_ann_101_imagenet",
    (3, 224, 224),
    "ImageNet form, bottlenecks, 33 predictors: 3, 4, 23, 3 units c=64",
)(units=(3, 4, 23, 3), **_LARGE)
_form(
    "resnet_ann_bottleneck_small",
    (3, 16, 16),
    "minutes on 2 cores: bottlenecks, 5 predictors: 2, 2, 1 units c=8",
)(units=(2, 2, 1), width=8, unit="bottleneck")
_form("resnet_ann_small", (3, 16, 16), "minutes on 2 cores: 9 predictors: n=3 c=16")(
    units=(3, 3, 3), width=16
)
_form("resnet_ann_small_6", (3, 16, 16), "minutes on 2 cores: 6 predictors, every 2 units: n=4 c=16")(
    units=(4, 4, 4), width=16, exits_after=(2, 4, 6, 8, 10, 12)
)
_form("resnet_ann_tiny", (3, 8, 8), "for tests: 3 predictors: n=1 c=4")(units=(1, 1, 1), width=4)
