"""Parameter-free transitions between scales: halve the image, double the channels with zeros.

Source, unless said otherwise: the sliced-networks paper, appendix B (average pooling and zero channels).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def append_zeros(x: Tensor, *, round_up: bool = False) -> Tensor:
    """`(N, C, H, W)` to `(N, 2C, H/2, W/2)`, the zero channels after the last one.

    `round_up`: what becomes of an odd last row or column; a convolution with stride 2 keeps it, too.
    """
    return F.pad(F.avg_pool2d(x, 2, ceil_mode=round_up), (0, 0, 0, 0, 0, x.shape[1]))


def between_zeros(x: Tensor) -> Tensor:
    """`(N, C, H, W)` to `(N, 2C, H/2, W/2)`, the zero channels split evenly before and after the others.

    Source: Hu et al., arXiv 1708.06832. An odd last row or column is kept, as by a convolution with stride 2.
    """
    before = x.shape[1] // 2
    return F.pad(F.avg_pool2d(x, 2, ceil_mode=True), (0, 0, 0, 0, before, x.shape[1] - before))


def append_zeros_in_slices(x: Tensor, slices: Sequence[int]) -> Tensor:
    """The same with the zeros inside every slice, [x_1, 0, x_2, 0, ..], so that borders keep nesting.

    `slices` are the channels of each slice before the transition.
    """
    pieces = F.avg_pool2d(x, 2).split(list(slices), dim=1)
    return torch.cat([part for piece in pieces for part in (piece, torch.zeros_like(piece))], dim=1)
