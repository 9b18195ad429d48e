"""Plain layers cut out of trained ones: what segments are made of. Every weight is an own contiguous copy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

_Module = TypeVar("_Module", bound=nn.Module)


def conv_snapshot(weight: Tensor, *, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Conv2d:
    """A bias-free Conv2d that holds a copy of `weight` (out, in / groups, k, k)."""
    out_channels, fan_in, kernel, _ = weight.shape
    conv = nn.Conv2d(
        fan_in * groups, out_channels, kernel, stride, padding, groups=groups, bias=False, device="meta"
    )
    conv.weight = _copied(weight)
    return conv


def norm_snapshot(norm: nn.BatchNorm2d, start: int = 0, stop: int | None = None) -> nn.BatchNorm2d:
    """A BatchNorm2d with channels [start, stop) of `norm`, in eval mode."""
    span = slice(start, norm.num_features if stop is None else stop)
    twin = nn.BatchNorm2d(span.stop - start, norm.eps, norm.momentum, device="meta").eval()
    twin.weight, twin.bias = _copied(norm.weight[span]), _copied(norm.bias[span])
    twin.running_mean = norm.running_mean[span].detach().clone()  # type: ignore[index]
    twin.running_var = norm.running_var[span].detach().clone()  # type: ignore[index]
    twin.num_batches_tracked = norm.num_batches_tracked.clone()  # type: ignore[union-attr]
    return twin


def module_snapshot(module: _Module) -> _Module:
    """A deep copy whose parameters and buffers are contiguous; whether they learn stays as it was."""
    twin = copy.deepcopy(module)
    for tensor in (*twin.parameters(), *twin.buffers()):
        tensor.data = tensor.data.contiguous()
    return twin


def copy_leading(
    source: nn.Module, target: nn.Module, rename: Callable[[str], str] = lambda name: name
) -> None:
    """Fills every tensor of `target` with the leading rectangle of the tensor of `source` of that name.

    `rename` gives the name in `source` for a name in `target`.
    """
    tensors = source.state_dict()
    for name, goal in target.state_dict().items():
        goal.copy_(tensors[rename(name)][tuple(slice(size) for size in goal.shape)])


def like(source: nn.Module, build: Callable[[], nn.Module]) -> Any:
    """What `build` makes, unfilled, on the device and with the dtype of `source`; the meta device too."""
    tensor = next(source.parameters())
    with torch.device("meta"):
        target = build()
    return target.to(tensor.dtype).to_empty(device=tensor.device)


def _copied(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor.detach().clone(memory_format=torch.contiguous_format), requires_grad=False)
