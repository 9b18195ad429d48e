"""DenseNet and DenseNet-BC, plain or with predictors on the way: every layer reads all layers before it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from torch import nn

from anytimenet.core.segments import InputSpec
from anytimenet.layers.init import init_weights
from anytimenet.nets.arguments import check_counts, check_flag, check_positive, check_word
from anytimenet.nets.chain.exits import ExitNet
from anytimenet.nets.depth.densenet_layers import DenseLayer, DenseTransition
from anytimenet.nets.depth.multiscale_layers import LargeImageStem
from anytimenet.nets.registry import forms_of

PAPER = "Densely Connected Convolutional Networks"
PLAIN_STEM = 16
"""Channels of the stem for small images, unless the net has bottlenecks and compression."""


def densenet(
    num_classes: Sequence[int] = (10,),
    *,
    exits_after: Sequence[int] | str | None = None,
    layers: Sequence[int] = (16, 16, 16),
    growth: int = 12,
    bottleneck: bool = True,
    reduction: float = 0.5,
    stem: str = "cifar",
    stem_channels: int | None = None,
    in_channels: int = 3,
    init: str = "msra",
) -> ExitNet:
    """A DenseNet whose stage k predicts after dense layer `exits_after[k-1]`, counted over all blocks.

    A dense layer appends `growth` channels to everything before it in its block; a transition compresses the
    channels and halves the image between two blocks. Stem "cifar" is a 3x3 convolution, "imagenet" a 7x7
    convolution with stride 2, BN, ReLU and a 3x3 max-pooling with stride 2.

    Method card:
        Paper: Huang, Liu, van der Maaten and Weinberger, "Densely Connected Convolutional Networks" (CVPR
            2017). DenseNet-BC (the default): `bottleneck` and `reduction=0.5`; DenseNet: neither. Depth L of
            the CIFAR form is the layers (twice with bottlenecks) and 4. Predictors on the way are those of
            feed-forward nets in general (Hu et al., arXiv 1708.06832), not of this paper.
        Shared: the stem and the layers up to the first predictor by all stages, later layers by later stages.
            Plain BatchNorms. A transition belongs to the first layer of the block that it leads to.
        Per stage: a head BN - ReLU - global average pooling - FC on the concatenated features; after the
            last layer of a block, on those before the transition. With one stage, the paper's classifier.
        State: the concatenated features of the last layer's block, so it grows within a block.
        Training: SGD with Nesterov momentum 0.9, weight decay 1e-4, learning rate 0.1, divided by 10 at 1/2
            and 3/4 of 300 epochs with batches of 64 (CIFAR), at 30 and 60 of 90 epochs with 256 (ImageNet).
        Deviations: none of the paper's dropout, which it uses without augmentation only. Features are
            copied at each concatenation and kept for the backward pass, as in a plain implementation; the
            paper's later memory-efficient form is not built.

    Args:
        num_classes: classes of each label level, fine level first.
        exits_after: for each stage the number of dense layers that it runs; "block_ends": a stage at the end
            of each dense block; None: one stage, after the last layer.
        layers: dense layers of each block.
        growth: channels k that a layer appends.
        bottleneck: whether each layer has a 1x1 convolution to 4k channels before its 3x3 convolution.
        reduction: the part of the channels that a transition keeps, rounded down; 1 keeps them all.
        stem: "cifar" or "imagenet".
        stem_channels: of the stem; None: 2k, but 16 in a "cifar" net that is not of the BC kind.
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if `exits_after` does not increase to the number of layers, `reduction` is not over 0 and
            at most 1 or leaves no channel, a word is unknown, or a number is not positive.

    >>> net = densenet(layers=(2, 1), growth=4, exits_after=(1, 2, 3))
    >>> [shape.shape for stage in (1, 2) for shape in net.state_spec(stage, (3, 8, 8))]
    [(12, 8, 8), (16, 8, 8)]
    """
    counts = check_counts("layers", layers, "for each block the number of dense layers")
    check_positive(growth=growth, in_channels=in_channels)
    check_flag(bottleneck=bottleneck)
    check_word("stem", stem, ("cifar", "imagenet"))
    _check_reduction(reduction)
    if stem_channels is None:
        is_compact = bottleneck and reduction < 1
        stem_channels = 2 * growth if is_compact or stem == "imagenet" else PLAIN_STEM
    check_positive(stem_channels=stem_channels)
    smallest = 2 ** (len(counts) - 1) * (4 if stem == "imagenet" else 1)
    net = ExitNet(
        LargeImageStem(in_channels, stem_channels)
        if stem == "imagenet"
        else nn.Conv2d(in_channels, stem_channels, 3, padding=1, bias=False),
        _dense_layers(stem_channels, counts, growth, bottleneck=bottleneck, reduction=reduction),
        _exits(exits_after, counts),
        num_classes=num_classes,
        input_spec=InputSpec("images", in_channels, smallest),
    )
    init_weights(net, init)
    return net


def _dense_layers(
    channels: int, counts: Sequence[int], growth: int, *, bottleneck: bool, reduction: float
) -> Iterator[DenseLayer]:
    """The layers of all blocks, the first of each later one with the transition to its block."""
    for block, count in enumerate(counts):
        transition = None
        if block:
            # A hair of tolerance: 0.29 * 100 is a little less than 29.
            kept = math.floor(channels * reduction + 1e-9)
            if kept < 1:
                raise ValueError(
                    f"reduction {reduction} leaves none of {channels} channels: "
                    f"at least {math.ceil(1e4 / channels) / 1e4:g} is needed"
                )
            transition = DenseTransition(channels, kept)
            channels = kept
        for number in range(count):
            first = transition if number == 0 else None
            yield DenseLayer(channels, growth, bottleneck=bottleneck, transition=first)
            channels += growth


def _exits(exits_after: Sequence[int] | str | None, counts: Sequence[int]) -> Sequence[int]:
    """After which dense layers there is a predictor, counted over all blocks."""
    if exits_after is None:
        return (sum(counts),)
    if isinstance(exits_after, str):
        check_word("exits_after", exits_after, ("block_ends",))
        return tuple(accumulate(counts))
    return exits_after


def _check_reduction(reduction: float) -> None:
    number = isinstance(reduction, int | float) and not isinstance(reduction, bool)
    if not number or not 0 < reduction <= 1:
        raise ValueError(
            f"reduction {reduction!r}: a number over 0 and at most 1 is needed, 0.5 to halve the channels, "
            "1 to keep them"
        )


_PLAIN: dict[str, Any] = {"bottleneck": False, "reduction": 1.0}
_121: dict[str, Any] = {"layers": (6, 12, 24, 16), "growth": 32, "stem": "imagenet"}

_form = forms_of(densenet, paper=PAPER, family="densenet")
_form("densenet_40_12", (3, 32, 32), "without bottlenecks: L=40 k=12")(layers=(12, 12, 12), **_PLAIN)
_form("densenet_bc_100_12", (3, 32, 32), "DenseNet-BC: L=100 k=12")()
_form("densenet_bc_190_40", (3, 32, 32), "DenseNet-BC: L=190 k=40")(layers=(31, 31, 31), growth=40)
_form("densenet_bc_100_12_exits", (3, 32, 32), "DenseNet-BC with 3 predictors, at block ends: L=100 k=12")(
    exits_after="block_ends"
)
_form("densenet_121_imagenet", (3, 224, 224), "ImageNet form: L=121 k=32")(**_121)
_form(
    "densenet_121_imagenet_exits", (3, 224, 224), "ImageNet form with 4 predictors, at block ends: L=121 k=32"
)(exits_after="block_ends", **_121)
_form(
    "densenet_small",
    (3, 16, 16),
    "minutes on 2 cores: DenseNet-BC with 4 predictors, after its first layer and at block ends: k=6",
)(layers=(2, 4, 8), growth=6, exits_after=(1, 2, 6, 14))
_form("densenet_tiny", (3, 8, 8), "for tests: DenseNet-BC with 3 predictors, at block ends: k=3")(
    layers=(2, 1, 1), growth=3, exits_after="block_ends"
)
