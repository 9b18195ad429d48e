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
from torch.autograd.function import once_differentiable

_WIDE = 384
"""Channels from which matrix products on prefixes beat one dense convolution on a CPU, copies included."""


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
        rows = list(self.rows)[:slices]
        if _is_worth_products(x, rows[-1]):
            y: Tensor = _TriangularProduct.apply(x, *rows)  # type: ignore[no-untyped-call]
            return y
        return F.conv2d(x, _StackRows.apply(*rows))  # type: ignore[no-untyped-call]

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


def _is_worth_products(x: Tensor, row: Tensor) -> bool:
    """Whether products without zeros are faster: a wide layer, channels last, trained on a CPU."""
    return (
        x.shape[1] >= _WIDE
        and x.device.type == "cpu"
        and x.dtype == row.dtype
        and not torch.is_autocast_enabled("cpu")
        and torch.is_grad_enabled()
        and x.is_contiguous(memory_format=torch.channels_last)
    )


class _TriangularProduct(torch.autograd.Function):
    """The triangular 1x1 convolution as one matrix product a row block; zeros are never multiplied."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *rows: Tensor) -> Tensor:
        ctx.save_for_backward(x, *rows)
        pixels = _as_pixels(x)
        result = pixels.new_empty(len(pixels), sum(row.shape[0] for row in rows))
        start = 0
        for row in rows:
            out, fan_in = row.shape[:2]
            torch.mm(pixels[:, :fan_in], row.view(out, fan_in).t(), out=result[:, start : start + out])
            start += out
        return _as_map(result, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        x, *rows = ctx.saved_tensors
        pixels, grad = _as_pixels(x), _as_pixels(grads[0].contiguous(memory_format=torch.channels_last))
        weight = _StackRows.apply(*rows).view(grad.shape[1], -1)  # type: ignore[no-untyped-call]
        grad_pixels, grad_rows = torch.empty_like(pixels), []
        start = before = 0
        for row in rows:
            out, fan_in = row.shape[:2]
            # Input channels of this slice are read by its own row block and all later ones.
            columns = slice(before, fan_in)
            torch.mm(grad[:, start:], weight[start:, columns], out=grad_pixels[:, columns])
            grad_rows.append(torch.mm(grad[:, start : start + out].t(), pixels[:, :fan_in]).view(row.shape))
            start, before = start + out, fan_in
        return _as_map(grad_pixels, x), *grad_rows


def _as_pixels(x: Tensor) -> Tensor:
    """`(N, C, H, W)` in channels-last memory as `(N * H * W, C)`, without a copy."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _as_map(pixels: Tensor, like: Tensor) -> Tensor:
    """The way back, to the batch and image size of `like`."""
    batch, _, height, width = like.shape
    return pixels.view(batch, height, width, -1).permute(0, 3, 1, 2)
