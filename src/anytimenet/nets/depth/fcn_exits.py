"""Semantic segmentation with exits: a dilated ResNet with a fully convolutional head after each block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.core.segments import InputSpec
from anytimenet.layers.init import init_weights
from anytimenet.nets.arguments import as_numbers, check_blocks, check_positive, check_word
from anytimenet.nets.chain.exits import ExitNet
from anytimenet.nets.registry import forms_of

PAPER = "Fully Convolutional Networks for Semantic Segmentation, on a dilated ResNet"
SMALLEST = 8
"""Pixels a side that give one position at the resolution of the last block."""

_CLASSIFIER_STD = 0.01


def fcn_exits(
    num_classes: Sequence[int] = (10,),
    *,
    blocks: Sequence[int] = (3, 4, 6, 3),
    widths: Sequence[int] = (64, 128, 256, 512),
    unit: str = "bottleneck",
    stem_kernel: int = 7,
    head_divisor: int = 4,
    in_channels: int = 3,
    init: str = "msra",
) -> ExitNet:
    """A net whose stage k labels every pixel after block k, at the resolution of that block's features.

    The stem and a max pooling leave a quarter of the image's height and width, block 2 an eighth; later
    blocks keep it and dilate their convolutions by 2, 4, ... instead. Logits are `(N, classes, h, w)`; the
    task resizes them to the masks.

    Method card:
        Paper: "Fully Convolutional Networks for Semantic Segmentation" (Long, Shelhamer, Darrell 2015) for
            the head; "Rethinking Atrous Convolution for Semantic Image Segmentation" (Chen et al. 2017) for
            the dilated ResNet. The default is the FCN-ResNet-50 that torchvision publishes, with two heads
            more: stage 4 is its main head, stage 3 its auxiliary one.
        Shared: the stem and blocks 1..k by the stages from k on. Plain BatchNorms.
        Per stage: a head conv3x3-BN-ReLU-conv1x1 on the block's own width and resolution.
        State: the last block's features.
        Deviations: no dropout in the heads, so that every pass gives the same; the classifiers start at
            normal, std 0.01, with any `init` but "pytorch". Block-Dependent Losses leaves its segmentation
            net open (methods.md 8.4): four blocks with an FCN head each are this project's choice.

    Args:
        num_classes: classes of each label level, fine level first.
        blocks: residual units of each block; one block, with its head, a stage.
        widths: channels of the 3x3 convolutions of each block.
        unit: "bottleneck", whose features are four times as wide, or "basic".
        stem_kernel: side of the stem's kernel, odd.
        head_divisor: a head's hidden channels are the block's channels over this.
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if `blocks` and `widths` differ in length, or a number is not positive.

    >>> import torch
    >>> net = fcn_exits((11,), blocks=(1, 1), widths=(8, 8), unit="basic", head_divisor=1)
    >>> [tuple(logits.shape) for (logits,) in net(torch.zeros(1, 3, 16, 24))]
    [(1, 11, 4, 6), (1, 11, 2, 3)]
    """
    counts, channels = check_blocks(blocks), as_numbers("widths", widths)
    check_positive(stem_kernel=stem_kernel, head_divisor=head_divisor, in_channels=in_channels)
    check_word("unit", unit, ("bottleneck", "basic"))
    if len(counts) != len(channels) or min(channels) < 1:
        raise ValueError(f"widths {channels}: one number of channels for each of {len(counts)} blocks")
    if stem_kernel % 2 == 0:
        raise ValueError(f"stem_kernel {stem_kernel}: an odd side is needed, for example {stem_kernel + 1}")
    kind = Bottleneck if unit == "bottleneck" else BasicUnit
    before = channels[0]
    stages = []
    for number, (count, width) in enumerate(zip(counts, channels, strict=True), start=1):
        stages.append(_block(kind, number, count, before, width))
        before = width * kind.expansion
    net = ExitNet(
        nn.Sequential(
            nn.Conv2d(in_channels, channels[0], stem_kernel, 2, stem_kernel // 2, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        ),
        stages,
        range(1, len(stages) + 1),
        lambda shape: FcnHead(shape[0], num_classes, head_divisor),
        num_classes=num_classes,
        input_spec=InputSpec("images", in_channels, SMALLEST),
    )
    init_weights(net, init)
    return net


class FcnHead(nn.Module):
    """conv3x3-BN-ReLU-conv1x1 for each label level: features `(N, C, h, w)` to a tuple of label maps."""

    def __init__(self, channels: int, num_classes: Sequence[int], divisor: int = 4) -> None:
        super().__init__()
        hidden = max(1, channels // divisor)
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, hidden, 3, padding=1, bias=False),
                nn.BatchNorm2d(hidden),
                nn.ReLU(inplace=True),
                Classifier(hidden, classes, 1),
            )
            for classes in num_classes
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(level(x) for level in self.levels)


class Classifier(nn.Conv2d):
    """The last 1x1 convolution: it starts with nearly equal probabilities."""

    def init_weights(self, scheme: str) -> None:
        """As `layers.init` calls it."""
        if scheme != "pytorch":
            self.weight.normal_(0, _CLASSIFIER_STD)
            assert self.bias is not None
            self.bias.zero_()


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 to four times the width, added to the shortcut; the stride is the 3x3's."""

    expansion = 4

    folds = (("conv1", "norm1"), ("conv2", "norm2"), ("conv3", "norm3"))

    def __init__(self, channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(width * self.expansion)
        self.shortcut = _shortcut(channels, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu_(self.norm1(self.conv1(x)))
        h = F.relu_(self.norm2(self.conv2(h)))
        return F.relu_(self.norm3(self.conv3(h)) + self.shortcut(x))


class BasicUnit(nn.Module):
    """Two 3x3 convolutions, added to the shortcut."""

    expansion = 1

    folds = (("conv1", "norm1"), ("conv2", "norm2"))

    def __init__(self, channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, dilation, dilation, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, dilation, dilation, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = _shortcut(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu_(self.norm1(self.conv1(x)))
        return F.relu_(self.norm2(self.conv2(h)) + self.shortcut(x))


def _block(
    kind: type[Bottleneck] | type[BasicUnit], number: int, count: int, channels: int, width: int
) -> nn.Sequential:
    """Block `number`, from 1: the second halves the resolution, later ones dilate."""
    dilation = 2 ** max(0, number - 2)
    # The first unit still has the dilation of the block before, as in the published nets.
    units: list[nn.Module] = [kind(channels, width, 2 if number == 2 else 1, max(1, dilation // 2))]
    units += [kind(width * kind.expansion, width, 1, dilation) for _ in range(count - 1)]
    return nn.Sequential(*units)


def _shortcut(channels: int, wanted: int, stride: int) -> nn.Module:
    if channels == wanted and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, wanted, 1, stride, bias=False), nn.BatchNorm2d(wanted))


_BASIC: dict[str, Any] = {"unit": "basic", "stem_kernel": 3}

_form = forms_of(fcn_exits, paper=PAPER, family="fcn_exits")
_form(
    "fcn_exits",
    (3, 360, 480),
    "segmentation, a head on each block of a dilated ResNet-50: 3, 4, 6, 3 bottlenecks",
)()
_form("fcn_exits_small", (3, 96, 128), "segmentation in minutes on 2 cores: 2, 2, 1, 1 basic units")(
    blocks=(2, 2, 1, 1), widths=(32, 64, 96, 128), head_divisor=2, **_BASIC
)
_form("fcn_exits_tiny", (3, 16, 24), "for tests: segmentation, one basic unit a block")(
    blocks=(1, 1, 1, 1), widths=(6, 12, 12, 16), head_divisor=2, **_BASIC
)
