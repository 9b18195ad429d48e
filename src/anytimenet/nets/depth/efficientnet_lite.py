"""EfficientNet-Lite with predictors on the way: inverted residuals without attention, for small devices."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

from anytimenet.core.checks import number
from anytimenet.core.segments import INPUT, InputSpec
from anytimenet.layers.heads import PooledHead
from anytimenet.layers.init import init_weights
from anytimenet.nets.arguments import as_numbers, check_exits, check_positive
from anytimenet.nets.chain.blocks import Node
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.depth.inverted_residual import ConvNorm, InvertedResidual
from anytimenet.nets.pretrained import efficientnet_lite0
from anytimenet.nets.registry import forms_of

PAPER = "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks; the released Lite form"
GROUPS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
"""Kernel, stride of the first block, expansion, channels and number of blocks of each group."""


def efficientnet_lite(
    num_classes: Sequence[int] = (10,),
    *,
    exits_after: Sequence[int] | None = None,
    groups: Sequence[Sequence[int]] = GROUPS,
    width: float = 1.0,
    depth: float = 1.0,
    stem_channels: int = 32,
    top_channels: int = 1280,
    dropout: float = 0.2,
    in_channels: int = 3,
    init: str = "msra",
) -> ChainNet:
    """An EfficientNet-Lite whose stage k predicts after inverted residual `exits_after[k-1]`.

    After the last of them a 1x1 convolution to `top_channels` leads to the last stage's classifier.

    Method card:
        Paper: Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML
            2019), in the form that Google released as EfficientNet-Lite (2020): no squeeze-and-excitation,
            ReLU6 in place of swish, stem and top of one width at every size, and as many blocks in the first
            and last group. Predictors on the way are those of feed-forward nets in general (Hu et al., arXiv
            1708.06832), not of this paper.
        Shared: the stem and the blocks up to the first predictor by all stages, later ones by later stages.
            Plain BatchNorms.
        Per stage: a head global average pooling - dropout - FC; on the way it reads a block's output, which
            has no activation, at the end the top's.
        State: the last block's features.
        Training: RMSProp 0.9, learning rate 0.256 decayed by 0.97 every 2.4 epochs, weight decay 1e-5.
        Deviations: blocks are not dropped at random while training (stochastic depth, 0.2 at the last).

    Args:
        num_classes: classes of each label level, fine level first.
        exits_after: for each stage the number of blocks that it runs; None: a stage at the end of each group
            but the first and the last two, and one at the end.
        groups: for each group its kernel, the stride of its first block, the expansion, channels and number
            of blocks.
        width: multiplies the channels of groups, which are then rounded to a multiple of 8.
        depth: multiplies the number of blocks, rounded up, of all groups but the first and the last.
        stem_channels: of the first convolution, 3x3 with stride 2.
        top_channels: of the last convolution.
        dropout: share of the pooled features that each head leaves out in training.
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if `exits_after` does not increase to the number of blocks, or a number cannot be.

    >>> net = efficientnet_lite((1000,))
    >>> [shape.shape for stage in (1, 2, 3, 4) for shape in net.state_spec(stage, (3, 224, 224))]
    [(24, 56, 56), (40, 28, 28), (80, 14, 14), (112, 14, 14)]
    """
    check_positive(stem_channels=stem_channels, top_channels=top_channels, in_channels=in_channels)
    scaled = _scaled(groups, number(width, "width", above=0), number(depth, "depth", above=0))
    ends = tuple(accumulate(group[4] for group in scaled))
    exits = check_exits(_exits(ends) if exits_after is None else exits_after, ends[-1])
    blocks = list(_blocks(stem_channels, scaled))
    names = [f"block{place}" for place in range(1, len(blocks) + 1)]
    nodes = [Node("stem", ConvNorm(in_channels, stem_channels, kernel=3, stride=2), (INPUT,))]
    nodes += [
        Node(name, block, (read,)) for name, block, read in zip(names, blocks, ("stem", *names), strict=False)
    ]
    channels = [blocks[stop - 1].project.norm.num_features for stop in exits]
    nodes.append(Node("top", ConvNorm(channels[-1], top_channels), (names[-1],)))
    channels[-1] = top_channels
    cuts = [0, *(stop + 1 for stop in exits[:-1]), len(nodes)]
    net = ChainNet(
        [nodes[start:stop] for start, stop in pairwise(cuts)],
        [*(names[stop - 1] for stop in exits[:-1]), "top"],
        [PooledHead(read, num_classes, relu=False, dropout=dropout) for read in channels],
        num_classes=num_classes,
        input_spec=InputSpec("images", in_channels),
    )
    init_weights(net, init)
    return net


def _blocks(channels: int, groups: Sequence[tuple[int, ...]]) -> Iterator[InvertedResidual]:
    """The blocks of all groups; the first of a group has its stride."""
    for kernel, stride, expansion, width, count in groups:
        for place in range(count):
            yield InvertedResidual(
                channels, width, kernel=kernel, stride=1 if place else stride, expansion=expansion
            )
            channels = width


def _scaled(groups: Sequence[Sequence[int]], width: float, depth: float) -> list[tuple[int, ...]]:
    """The groups of a wider or deeper net."""
    found = [as_numbers("each of groups", group) for group in groups]
    for group in found:
        if len(group) != 5 or min(group) < 1 or group[0] % 2 == 0:
            raise ValueError(
                f"groups holds {group}: an odd kernel, the stride, expansion, channels and number of blocks "
                "of each group are needed, for example (3, 2, 6, 24, 2)"
            )
    if not found:
        raise ValueError("groups is empty: one group of blocks or more is needed")
    kept = (0, len(found) - 1)
    return [
        (*group[:3], _rounded(group[3], width), group[4] if place in kept else math.ceil(group[4] * depth))
        for place, group in enumerate(found)
    ]


def _rounded(channels: int, width: float) -> int:
    """`channels` times `width`, to the nearest multiple of 8 that is no tenth less; as they are for 1."""
    if width == 1:
        return channels
    wanted = channels * width
    nearest = max(8, int(wanted + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * wanted else nearest


def _exits(ends: Sequence[int]) -> tuple[int, ...]:
    """After which blocks there is a predictor if nothing else is said, from those that end a group."""
    return (*ends[1:-2], ends[-1])


_form = forms_of(efficientnet_lite, paper=PAPER, family="efficientnet_lite")
_form(
    "efficientnet_lite0",
    (3, 224, 224),
    "ImageNet form with 5 stages, after blocks 3, 5, 8, 11 and at the end; pretrained",
    efficientnet_lite0.WEIGHTS,
)()
for _size, _width, _depth, _side, _dropout in (
    (1, 1.0, 1.1, 240, 0.2),
    (2, 1.1, 1.2, 260, 0.3),
    (3, 1.2, 1.4, 280, 0.3),
    (4, 1.4, 1.8, 300, 0.3),
):
    _form(
        f"efficientnet_lite{_size}",
        (3, _side, _side),
        f"wider and deeper: {_width:g} times the channels, {_depth:g} times the blocks",
    )(width=_width, depth=_depth, dropout=_dropout)
_TINY: dict[str, Any] = {
    "groups": ((3, 1, 1, 4, 1), (3, 2, 2, 6, 1), (5, 2, 2, 6, 2)),
    "exits_after": (1, 2, 4),
    "stem_channels": 4,
    "top_channels": 10,
}
_form("efficientnet_lite_tiny", (3, 8, 8), "for tests: 3 stages, after blocks 1, 2 and at the end")(**_TINY)
