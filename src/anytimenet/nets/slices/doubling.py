"""Nested nets that double from stage to stage: in width, in depth by interlaced blocks, or in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from anytimenet.nets.arguments import check_blocks, check_positive, check_word
from anytimenet.nets.registry import forms_of
from anytimenet.nets.slices.blocks import StemForm
from anytimenet.nets.slices.isresnext import ISResNeXt
from anytimenet.nets.slices.plan import Range

PAPER = "Orthogonalized SGD and Nested Architectures for Anytime Neural Networks"
Growth = Literal["width", "depth", "both"]
_GROWTHS = ("width", "depth", "both")


def doubling(
    num_classes: Sequence[int] = (10,),
    *,
    growth: Growth = "width",
    stages: int = 3,
    branches: int = 1,
    width: int = 16,
    branch_width: int = 4,
    blocks: Sequence[int] = (1, 1, 1),
    stem: StemForm = "cifar",
    stem_bn: bool = False,
    in_channels: int = 3,
    init: str = "msra",
) -> ISResNeXt:
    """A sliced net in which stage k has twice the width or depth of stage k-1 and contains it unchanged.

    Method card:
        Paper: Wan, Hoffmann, Lu and Maire, "Orthogonalized SGD and Nested Architectures for Anytime Neural
            Networks" (ICML 2020, arXiv 2008.06635).
        Shared: everything that an earlier stage computes; new slices read old ones, never the reverse.
        Per stage: the head (own BN and FC, one for each label level), and slice k of the trunk.
        State: what later slices read of the old ones: normalised inputs of blocks that both write, the
            trunk where new blocks stand, and the last features. See `slices.plan.SlicePlan`.
        Training: meant for the scheme "osgd". One graph; BatchNorms are shared, as a channel is the same
            for every stage that has it.
        Deviations: written without the paper's code and details at hand. The block is IS-ResNeXt's. Width:
            slices of 1, 1, 2, 4 .. times `branches`; every block writes all of them. Depth: equal slices,
            one a stage; the blocks of stage k stand halfway between those of stages 1..k-1 in each scale,
            the first stage's first, and write slice k from slices 1..k. Both: slices as for width, places
            as for depth; a block that stage k adds writes slices k and later. Zero channels of a
            transition are appended inside each slice.

    Args:
        num_classes: classes of each label level, fine level first.
        growth: "width", "depth" (the blocks double) or "both".
        stages: K; the last stage has 2^(K-1) times the width or the blocks of the first.
        branches: branches of stage 1.
        width: trunk channels of stage 1 at the first scale.
        branch_width: bottleneck channels of one branch at the first scale.
        blocks: residual blocks of stage 1 at each scale.
        stem: "cifar" (3x3) or "imagenet" (7x7 stride 2, then 2x2 max-pool).
        stem_bn: BatchNorm and ReLU after the stem.
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if a number is not positive, a list is empty or a word is not known.

    >>> net = doubling(growth="depth", stages=3, width=4, blocks=(1,))
    >>> net.slices, net.plan.ranges
    ((1, 1, 1), ((1, 1), (3, 3), (2, 2), (3, 3)))
    """
    check_word("growth", growth, _GROWTHS)
    check_positive(stages=stages, branches=branches, width=width)
    counts = check_blocks(blocks)
    shares = [1] * stages if growth == "depth" else [1, *(2**k for k in range(stages - 1))]
    if growth != "width":
        counts = tuple(count * 2 ** (stages - 1) for count in counts)
    return ISResNeXt(
        num_classes,
        slices=[share * branches for share in shares],
        width=width * sum(shares),
        branch_width=branch_width,
        blocks=counts,
        block_slices=None if growth == "width" else _interlaced(counts, stages, deep=growth == "depth"),
        stem=stem,
        stem_bn=stem_bn,
        in_channels=in_channels,
        init=init,
    )


def _interlaced(blocks: Sequence[int], stages: int, *, deep: bool) -> list[Range]:
    """What each block writes: the slice of the stage that adds it, and unless `deep` all later ones, too."""
    levels = [_level(place, stages) for count in blocks for place in range(count)]
    return [(level, level if deep else stages) for level in levels]


def _level(place: int, stages: int) -> int:
    """The first stage that runs the block at `place` of a scale, counted from 0: 1 3 2 3 for three stages."""
    level = stages
    while level > 1 and place % 2 == 0:
        place, level = place // 2, level - 1
    return level


_CIFAR, _SMALL = (3, 32, 32), (3, 16, 16)
_form = forms_of(doubling, paper=PAPER, family="doubling")
_form("doubling_width_cifar", _CIFAR, "4 widths, 16 to 128 channels: L=9")(
    growth="width", stages=4, branches=2, blocks=(3, 3, 3)
)
_form("doubling_depth_cifar", _CIFAR, "4 depths, 3 to 24 blocks: 32 channels a stage")(
    growth="depth", stages=4, width=32, branches=6
)
_form("doubling_both_cifar", _CIFAR, "3 sizes: 16 to 64 channels, 6 to 24 blocks")(
    growth="both", branches=3, blocks=(2, 2, 2)
)
_form("doubling_width_small", _SMALL, "minutes on 2 cores: 3 widths, 8 to 32 channels: L=3")(
    growth="width", width=8, branch_width=6
)
_form("doubling_depth_small", _SMALL, "minutes on 2 cores: 3 depths, 3 to 12 blocks: 10 channels a stage")(
    growth="depth", width=10, branches=2
)
_form("doubling_both_small", _SMALL, "minutes on 2 cores: 3 sizes: 7 to 28 channels, 3 to 12 blocks")(
    growth="both", width=7, branch_width=3
)
_form("doubling_width_tiny", (3, 8, 8), "for tests: 3 widths")(
    width=4, branch_width=2, blocks=(1, 1), growth="width"
)
_form("doubling_depth_tiny", (3, 8, 8), "for tests: 3 depths")(
    width=4, branch_width=2, blocks=(1, 1), growth="depth"
)
_form("doubling_both_tiny", (3, 8, 8), "for tests: 3 sizes")(
    width=4, branch_width=2, blocks=(1, 1), growth="both"
)
