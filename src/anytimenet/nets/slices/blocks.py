"""The pieces of sliced nets: a stem and residual blocks whose slices read earlier slices only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.layers.norms import PrefixBatchNorm2d
from anytimenet.nets.slices.convs import SlicewiseConv2d, TriangularConv2d

StemForm = Literal["cifar", "imagenet"]


class SlicedStem(nn.Module):
    """The first convolution; slice j is its filters, each of which reads the image only."""

    def __init__(self, in_channels: int, width: int, form: StemForm, with_norm: bool) -> None:
        super().__init__()
        if form not in ("cifar", "imagenet"):
            raise ValueError(f"stem {form!r} does not exist: 'cifar' or 'imagenet' is needed")
        self.form: StemForm = form
        kernel, self.stride, self.reduction = (3, 1, 1) if form == "cifar" else (7, 2, 4)
        self.conv = nn.Conv2d(in_channels, width, kernel, self.stride, kernel // 2, bias=False)
        self.norm = PrefixBatchNorm2d(width) if with_norm else None

    def reduced(self, size: int) -> int:
        """Pixels a side after the stem: the stride rounds up, the pooling down."""
        return size if self.form == "cifar" else (size + 1) // 2 // 2

    def forward(self, x: Tensor, channels: int) -> Tensor:
        x = F.conv2d(x, self.conv.weight[:channels], stride=self.stride, padding=self.conv.padding)
        return finish_stem(x, self.norm, self.form)


def finish_stem(x: Tensor, norm: nn.Module | None, form: StemForm) -> Tensor:
    """What follows the stem's convolution; it works channel by channel."""
    if norm is not None:
        x = F.relu_(norm(x))
    return F.max_pool2d(x, 2) if form == "imagenet" else x


class SlicedBlock(nn.Module):
    """Pre-activation residual block: triangular 1x1, grouped 3x3, slice-wise 1x1.

    It writes slices `first` to `last` of the trunk, each from slices 1 to itself; the other slices pass. A
    run with fewer than `first` slices leaves the block out.

    Args:
        slices: branches of each slice of the net.
        widths: trunk channels of each slice of the net at the first scale.
        branch_width: bottleneck channels of one branch at the first scale.
        factor: by how much this scale is wider.
        first: the first slice that the block writes, counted from 1.
        last: the last one; None: the net's last.

    Attributes:
        widths: trunk channels of slices 1..last.
        slices: branches of slices first..last.
        branches: bottleneck channels of slices first..last.
    """

    def __init__(
        self,
        slices: Sequence[int],
        widths: Sequence[int],
        branch_width: int,
        factor: int,
        first: int = 1,
        last: int | None = None,
    ) -> None:
        super().__init__()
        self.first, self.last = first, len(slices) if last is None else last
        self.slices = tuple(slices)[first - 1 : self.last]
        self.widths = tuple(width * factor for width in widths[: self.last])
        self.branches = tuple(count * branch_width * factor for count in self.slices)
        middle = sum(self.branches)
        # The first slice that is written reads all earlier ones: to the convolution they are one.
        reads = (sum(self.widths[:first]), *self.widths[first:])
        self.norm1 = PrefixBatchNorm2d(sum(self.widths))
        self.conv1 = TriangularConv2d(reads, self.branches)
        self.norm2 = PrefixBatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, padding=1, groups=sum(self.slices), bias=False)
        self.norm3 = PrefixBatchNorm2d(middle)
        self.conv3 = SlicewiseConv2d(self.branches, self.widths[first - 1 :])

    def forward(self, x: Tensor, slices: int) -> Tensor:
        """`x`: slices 1..`slices` of the trunk."""
        if slices < self.first:
            return x
        last = min(slices, self.last)
        used = last - self.first + 1
        h = self.conv1(F.relu_(self.norm1(leading(x, sum(self.widths[:last])))), used)
        weight = self.conv2.weight[: sum(self.branches[:used])]
        h = F.conv2d(F.relu_(self.norm2(h)), weight, padding=1, groups=sum(self.slices[:used]))
        return add_from(x, self.conv3(F.relu_(self.norm3(h)), used), sum(self.widths[: self.first - 1]))


def leading(x: Tensor, channels: int) -> Tensor:
    """The first `channels` of `x`, in memory of their own unless they are all."""
    # BatchNorm is several times slower on a slice of a wider map.
    return x if x.shape[1] == channels else x[:, :channels].clone()


def add_from(x: Tensor, new: Tensor, start: int) -> Tensor:
    """`x` with `new` added to its channels from `start` on, as many as `new` has.

    >>> add_from(torch.zeros(1, 4, 1, 1), torch.ones(1, 2, 1, 1), 1).flatten().tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    channels, count = x.shape[1], new.shape[1]
    if count == channels:
        return x + new
    before, same, after = x.split([start, count, channels - start - count], dim=1)
    return torch.cat([before, same + new, after], dim=1)
