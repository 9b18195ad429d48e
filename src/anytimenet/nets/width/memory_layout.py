"""Where a net must not train in channels_last, because a kernel of this machine writes beyond its memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from anytimenet.nets.width.elastic_layers import ConvNorm

_FEW_CHANNELS = 8


def needs_contiguous(net: nn.Module, device: torch.device) -> bool:
    """Whether `net` must see contiguous images in training on this machine.

    With torch 2.13 on CPUs that have AVX2 and no AVX-512, the gradient of a strided 1x1 convolution which
    reads 6 channels or fewer in channels_last writes beyond its memory ("double free or corruption"; oneDNN's
    jit_1x1:avx2, backward weights). Only tiny nets have such layers.

    >>> needs_contiguous(nn.Conv2d(3, 16, 3), torch.device("cpu"))
    False
    """
    if device.type != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX2":
        return False
    return any(
        conv.kernel_size == (1, 1) and max(conv.stride) > 1 and channels < _FEW_CHANNELS
        for conv, channels in _convolutions(net)
    )


def contiguous(x: Tensor) -> Tensor:
    """A copy of `(N, C, H, W)` in the plain layout; of one channel `x.contiguous()` might keep the other."""
    return x.clone(memory_format=torch.contiguous_format)


def _convolutions(net: nn.Module) -> list[tuple[nn.Conv2d, int]]:
    """Every convolution with the fewest channels that it may read at a time."""
    found = [(m, m.in_channels // m.groups) for m in net.modules() if isinstance(m, nn.Conv2d)]
    return found + [(m.conv, min(m.inputs.values())) for m in net.modules() if isinstance(m, ConvNorm)]
