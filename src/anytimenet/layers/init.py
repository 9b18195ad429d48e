"""Weight initialisation: `msra` (He normal, fan-out per group), `msra_ungrouped`, `pytorch`."""

from __future__ import annotations

import math

import torch
from torch import nn

from anytimenet.core.errors import suggest

SCHEMES = ("msra", "msra_ungrouped", "pytorch")


@torch.no_grad()
def init_weights(net: nn.Module, scheme: str = "msra") -> None:
    """Initialises convolutions and classifier biases of `net` in place.

    `msra`: normal, std sqrt(2 / (k * k * out / groups)). `msra_ungrouped`: the same without the division
    by groups, as the authors' code has it. Both set the classifiers' biases to zero. `pytorch`: leaves
    what PyTorch's layers do by themselves, which is what the authors' commands really ran.

    Raises:
        ValueError: for another scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"no initialisation is named {scheme!r}: {suggest(str(scheme), SCHEMES)}")
    if any(parameter.is_meta for parameter in net.parameters()):
        return  # nothing to fill, and drawing for nothing would import half of PyTorch's compiler
    for module in net.modules():
        own = getattr(module, "init_weights", None)
        if callable(own):  # layers that hold their weight in pieces know their shape
            own(scheme)
        elif scheme == "pytorch":
            continue
        elif isinstance(module, nn.Conv2d):
            groups = module.groups if scheme == "msra" else 1
            fan_out = math.prod(module.kernel_size) * module.out_channels / groups
            module.weight.normal_(0, math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            module.bias.zero_()
