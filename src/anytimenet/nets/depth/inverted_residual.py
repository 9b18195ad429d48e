"""Layers of mobile nets: convolutions padded as TensorFlow pads, BatchNorm, ReLU6, and inverted residuals.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (2018); BatchNorms as in Tan
and Le, "EfficientNet" (2019): epsilon 1e-3 and, in PyTorch's sense, momentum 0.01.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

EPSILON = 1e-3
MOMENTUM = 0.01


class ConvNorm(nn.Module):
    """Convolution, BatchNorm and, where it `activates`, ReLU6; the result is ceil(side / stride) a side.

    Padding is "same" as in TensorFlow: as little as is needed, and where that is an odd number of pixels, one
    more at the right and below. At stride 2 it depends on the size of the image.

    >>> import torch
    >>> [ConvNorm(3, 8, kernel=5, stride=2).eval()(torch.zeros(1, 3, s, s)).shape[-1] for s in (1, 7, 8)]
    [1, 4, 4]
    """

    folds = (("conv", "norm"),)

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activates: bool = True,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.activates = kernel, stride, activates
        # At stride 1 the padding is even on both sides, and the convolution can do it by itself.
        own = kernel // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(channels, width, kernel, stride, own, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(width, eps=EPSILON, momentum=MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            sides = (*same_padding(x.shape[3], self.kernel, self.stride),)
            x = F.pad(x, (*sides, *same_padding(x.shape[2], self.kernel, self.stride)))
        h: Tensor = self.norm(self.conv(x))
        return F.relu6(h, inplace=True) if self.activates else h


class InvertedResidual(nn.Module):
    """1x1 to `expansion` times the channels, a depthwise convolution, 1x1 to `width` without an activation.

    Where image and channels stay what they are the input is added. Without expansion (1) the first
    convolution is left out.

    >>> import torch
    >>> InvertedResidual(8, 16, kernel=3, stride=2, expansion=6)(torch.zeros(1, 8, 7, 7)).shape
    torch.Size([1, 16, 4, 4])
    """

    def __init__(self, channels: int, width: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        middle = channels * expansion
        self.expand = ConvNorm(channels, middle) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(middle, middle, kernel=kernel, stride=stride, groups=middle)
        self.project = ConvNorm(middle, width, activates=False)
        self.adds = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.project(self.depthwise(self.expand(x)))
        return h + x if self.adds else h


def same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels before and behind `side` pixels, for a result of ceil(side / stride).

    >>> same_padding(8, 3, 2), same_padding(7, 3, 2), same_padding(8, 5, 2)
    ((0, 1), (1, 1), (1, 2))
    """
    total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
    return total // 2, total - total // 2
