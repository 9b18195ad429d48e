"""1x1 convolutions between slices of channels, stored without structural zeros.

Source: "Anytime Neural Prediction via Slicing Networks Vertically", section 3 (IS-ResNeXt).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TriangularConv2d(nn.Module):
    """1x1 convolution in which slice j of the output reads slices 1..j of the input.

    Stored as one row block a slice, `rows[j-1]` of shape (out_j, in_1 + .. + in_j, 1, 1), and assembled to
    one dense weight at each forward: the fastest way to train it, with nothing but real weights to decay,
    initialise, count and save.

    Args:
        in_slices: input channels of each slice.
        out_slices: output channels of each slice.

    >>> TriangularConv2d((2, 2), (3, 3))(torch.zeros(1, 4, 5, 5), slices=2).shape
    torch.Size([1, 6, 5, 5])
    """

    def __init__(self, in_slices: Sequence[int], out_slices: Sequence[int]) -> None:
        super().__init__()
        self.out_slices = tuple(out_slices)
        self.fan_ins = tuple(accumulate(in_slices))
        self.rows = nn.ParameterList(
            torch.empty(out, fan_in, 1, 1) for out, fan_in in zip(out_slices, self.fan_ins, strict=True)
        )

    def forward(self, x: Tensor, slices: int) -> Tensor:
        """The first `slices` slices of the output from the first `slices` slices of the input."""
        return F.conv2d(x, _StackRows.apply(*list(self.rows)[:slices]))

    @torch.no_grad()
    def init_weights(self, scheme: str) -> None:
        """As a dense convolution of the same outer shape would be initialised; see `layers.init`."""
        for row in self.rows:
            if scheme == "pytorch":
                nn.init.kaiming_uniform_(row, a=math.sqrt(5))
            else:
                row.normal_(0, math.sqrt(2 / sum(self.out_slices)))


class SlicewiseConv2d(nn.Module):
    """1x1 convolution in which slice j of the output reads slice j of the input only.

    Stored as one block a slice, `blocks[j-1]` of shape (out_j, in_j, 1, 1). Equal slices run as one grouped
    convolution, uneven ones one after the other.

    >>> SlicewiseConv2d((2, 4), (3, 6))(torch.zeros(1, 6, 5, 5), slices=2).shape
    torch.Size([1, 9, 5, 5])
    """

    def __init__(self, in_slices: Sequence[int], out_slices: Sequence[int]) -> None:
        super().__init__()
        self.in_slices = tuple(in_slices)
        self.blocks = nn.ParameterList(
            torch.empty(out, width, 1, 1) for out, width in zip(out_slices, in_slices, strict=True)
        )

    def forward(self, x: Tensor, slices: int) -> Tensor:
        """The first `slices` slices of the output from the first `slices` slices of the input."""
        blocks = list(self.blocks)[:slices]
        if len({block.shape for block in blocks}) == 1:
            return F.conv2d(x, torch.cat(blocks), groups=slices)
        pieces = x.split(self.in_slices[:slices], dim=1)
        return torch.cat([F.conv2d(p, b) for p, b in zip(pieces, blocks, strict=True)], dim=1)

    @torch.no_grad()
    def init_weights(self, scheme: str) -> None:
        """As the equivalent grouped convolution would be initialised; see `layers.init`."""
        total = sum(block.shape[0] for block in self.blocks)
        for block in self.blocks:
            if scheme == "pytorch":
                nn.init.kaiming_uniform_(block, a=math.sqrt(5))
            else:
                fan_out = block.shape[0] if scheme == "msra" else total
                block.normal_(0, math.sqrt(2 / fan_out))


class _StackRows(torch.autograd.Function):
    """Row blocks of growing fan-in to one dense matrix; torch.cat of padded blocks in half the operators."""

    @staticmethod
    def forward(ctx: Any, *rows: Tensor) -> Tensor:
        ctx.shapes = [(row.shape[0], row.shape[1]) for row in rows]
        weight = rows[-1].new_zeros(sum(out for out, _ in ctx.shapes), ctx.shapes[-1][1], 1, 1)
        for piece, row in zip(weight.split([out for out, _ in ctx.shapes]), rows, strict=True):
            piece[:, : row.shape[1]] = row
        return weight

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        pieces = grads[0].split([out for out, _ in ctx.shapes])
        return tuple(
            piece[:, :fan_in].contiguous() for piece, (_, fan_in) in zip(pieces, ctx.shapes, strict=True)
        )
