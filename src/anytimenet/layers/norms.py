"""Batch normalisation whose width is the width of its input."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class PrefixBatchNorm2d(nn.BatchNorm2d):
    """A BatchNorm2d that accepts its first n channels too and then uses its first n scalars.

    The input's width says which: `(N, n, H, W)` with n <= num_features. Batch normalisation works channel
    by channel, so a narrower input sees exactly what it would see inside the full one.

    >>> import torch
    >>> PrefixBatchNorm2d(8)(torch.zeros(2, 4, 1, 1)).shape
    torch.Size([2, 4, 1, 1])
    """

    def forward(self, x: Tensor) -> Tensor:
        width = x.shape[1]
        if width == self.num_features:
            return super().forward(x)
        if self.training:
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        return F.batch_norm(
            x,
            self.running_mean[:width],  # type: ignore[index]
            self.running_var[:width],  # type: ignore[index]
            self.weight[:width],
            self.bias[:width],
            self.training,
            self.momentum,  # type: ignore[arg-type]
            self.eps,
        )
