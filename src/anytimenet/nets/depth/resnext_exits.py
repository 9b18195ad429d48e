"""Shallow exits: a plain ResNeXt with heads on its blocks, what thin sub-networks are measured against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.core.segments import InputSpec
from anytimenet.layers.init import init_weights
from anytimenet.layers.transitions import append_zeros
from anytimenet.nets.arguments import check_blocks, check_positive
from anytimenet.nets.chain.exits import ExitNet
from anytimenet.nets.registry import forms_of

PAPER = "Anytime Neural Prediction via Slicing Networks Vertically, section 4.1 (Fig. 3c)"


def resnext_exits(
    num_classes: Sequence[int] = (10,),
    *,
    exits_after: Sequence[int] = (2, 3, 4, 5, 6, 7, 8, 9),
    width: int = 64,
    branches: int = 8,
    branch_width: int = 4,
    blocks: Sequence[int] = (3, 3, 3),
    in_channels: int = 3,
    init: str = "msra",
) -> ExitNet:
    """A plain ResNeXt whose stage k predicts after block `exits_after[k-1]`.

    Method card:
        Paper: "Anytime Neural Prediction via Slicing Networks Vertically", section 4.1.
        Shared: the blocks up to the first exit by all stages, later ones by later stages. Plain BatchNorms.
        Per stage: the head on the exit's own width and resolution. An exit after the last block of a scale
            reads it before the transition.
        State: the last block's features.
        Deviations: none known.

    Args:
        num_classes: classes of each label level, fine level first.
        exits_after: for each stage the number of blocks that it runs.
        width: trunk channels W at the first scale.
        branches: branches C of every block.
        branch_width: bottleneck channels B of one branch at the first scale.
        blocks: residual blocks of each scale.
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if `exits_after` does not increase to the number of blocks, or a number is not positive.

    >>> net = resnext_exits(exits_after=(1, 2), width=8, branches=2, branch_width=2, blocks=(1, 1))
    >>> net.num_stages
    2
    """
    check_positive(width=width, branches=branches, branch_width=branch_width, in_channels=in_channels)
    counts = check_blocks(blocks)
    smallest = 2 ** (len(counts) - 1)
    net = ExitNet(
        nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
        [
            ResNeXtBlock(
                width * 2**scale, branches, branch_width * 2**scale, shrinks=scale > 0 and first == 0
            )
            for scale, count in enumerate(counts)
            for first in range(count)
        ],
        exits_after,
        num_classes=num_classes,
        input_spec=InputSpec("images", in_channels, smallest),
    )
    init_weights(net, init)
    return net


class ResNeXtBlock(nn.Module):
    """Pre-activation bottleneck of `branches` branches; one that `shrinks` takes the transition first."""

    folds = (("conv1", "norm2"), ("conv2", "norm3"))

    def __init__(self, width: int, branches: int, branch_width: int, *, shrinks: bool) -> None:
        super().__init__()
        middle = branches * branch_width
        self.norm1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, middle, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, groups=branches, bias=False)
        self.norm3 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, width, 1, bias=False)
        self.shrinks = shrinks

    def forward(self, x: Tensor) -> Tensor:
        if self.shrinks:
            x = append_zeros(x)
        h = self.conv1(F.relu_(self.norm1(x)))
        h = self.conv2(F.relu_(self.norm2(h)))
        y: Tensor = x + self.conv3(F.relu_(self.norm3(h)))
        return y


_SMALL: dict[str, Any] = {"exits_after": (1, 2, 3), "blocks": (1, 1, 1)}

_form = forms_of(resnext_exits, paper=PAPER, family="resnext_exits")
_form("resnext_29_exits", (3, 32, 32), "shallow exits after blocks 2..9: L=9 W=64 C=8")()
_form("resnext_exits_small", (3, 16, 16), "minutes on 2 cores: exits after blocks 1..3: L=3 W=32 C=4")(
    **_SMALL, width=32, branches=4
)
_form("resnext_exits_tiny", (3, 8, 8), "for tests: exits after blocks 1..3: L=3 W=8 C=2")(
    **_SMALL, width=8, branches=2, branch_width=2
)
