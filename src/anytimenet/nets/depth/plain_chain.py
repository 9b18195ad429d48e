"""A plain chain of convolutions with a prediction after each: the simplest net with many exits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.core.segments import InputSpec
from anytimenet.layers.heads import PooledHead
from anytimenet.layers.init import init_weights
from anytimenet.nets.arguments import as_numbers, check_positive
from anytimenet.nets.chain.exits import ExitNet
from anytimenet.nets.registry import forms_of


def plain_chain(
    num_classes: Sequence[int] = (10,),
    *,
    exits_after: Sequence[int] | None = None,
    widths: Sequence[int] = (32, 32, 64, 64, 128, 128),
    in_channels: int = 3,
    init: str = "msra",
) -> ExitNet:
    """Blocks conv3x3-BN-ReLU without shortcuts; stage k predicts after block `exits_after[k-1]`.

    Method card:
        Paper: none; the plain form that methods for exits are tried on first.
        Shared: the blocks up to the first exit by all stages, later ones by later stages. Plain BatchNorms.
        Per stage: a head global average pooling - FC on the ReLU's features.
        State: the last block's features.
        Deviations: none, there is no original.

    Args:
        num_classes: classes of each label level, fine level first.
        exits_after: for each stage the number of blocks that it runs; None: an exit after each block.
        widths: channels of each block; a block that is wider than the one before halves the image.
        in_channels: channels of the images.
        init: "msra", "msra_ungrouped" or "pytorch"; see `layers.init`.

    Raises:
        ValueError: if `exits_after` does not increase to the number of blocks, or a number is not positive.

    >>> net = plain_chain(widths=(4, 4, 8))
    >>> net.num_stages, net.input_spec.smallest
    (3, 2)
    """
    check_positive(in_channels=in_channels)
    first, *later = _check_widths(widths)
    blocks = [ConvBlock(in_channels, first)]
    blocks += [ConvBlock(a, b, stride=2 if b > a else 1) for a, b in pairwise((first, *later))]
    smallest = 2 ** sum(block.conv.stride == (2, 2) for block in blocks)
    net = ExitNet(
        None,
        blocks,
        range(1, len(blocks) + 1) if exits_after is None else exits_after,
        lambda shape: PooledHead(shape[0], num_classes, relu=False),
        num_classes=num_classes,
        input_spec=InputSpec("images", in_channels, smallest),
    )
    init_weights(net, init)
    return net


class ConvBlock(nn.Module):
    """conv3x3 - BN - ReLU."""

    folds = (("conv", "norm"),)

    def __init__(self, channels: int, width: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.norm(self.conv(x)))


def _check_widths(widths: Sequence[int]) -> tuple[int, ...]:
    channels = as_numbers("widths", widths)
    if not channels or any(width < 1 for width in channels):
        raise ValueError(f"widths {channels}: the channels of each block, 1 or more, are needed")
    return channels


_form = forms_of(plain_chain, family="plain_chain")
_form("plain_chain_small", (3, 16, 16), "minutes on 2 cores: 6 exits, W=32 to 128")()
_form("plain_chain_tiny", (3, 8, 8), "for tests: 3 exits, W=4 to 8")(widths=(4, 4, 8))
