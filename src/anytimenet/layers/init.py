"""Weight initialisation: `msra` (He normal, fan-out per group), `msra_ungrouped`, `pytorch`."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import nn

from anytimenet.core.errors import suggest

SCHEMES = ("msra", "msra_ungrouped", "pytorch")
_Module = TypeVar("_Module", bound=nn.Module)


@torch.no_grad()
def init_weights(net: nn.Module, scheme: str = "msra") -> None:
    """Initialises convolutions and classifier biases of `net` in place.

    `msra`: normal, std sqrt(2 / (k * k * out / groups)). `msra_ungrouped`: the same without the division
    by groups, as the authors' code has it. Both set the classifiers' biases to zero. `pytorch`: leaves
    what PyTorch's layers do by themselves, which is what the authors' commands really ran; so do modules
    marked by `keep_default_init`, under every scheme.

    Raises:
        ValueError: for another scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"no initialisation is named {scheme!r}: {suggest(str(scheme), SCHEMES)}")
    if any(parameter.is_meta for parameter in net.parameters()):
        return  # nothing to fill, and drawing for nothing would import half of PyTorch's compiler
    left = {id(m) for root in net.modules() if getattr(root, "default_init", False) for m in root.modules()}
    for module in net.modules():
        own = getattr(module, "init_weights", None)
        if id(module) in left:
            continue
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


def keep_default_init(module: _Module) -> _Module:
    """`module`, marked: `init_weights` leaves it and all in it as PyTorch's layers draw themselves.

    >>> first = keep_default_init(nn.Conv2d(3, 8, 3))
    >>> before = first.weight.clone()
    >>> init_weights(nn.Sequential(first, nn.ReLU()))
    >>> torch.equal(before, first.weight)
    True
    """
    module.default_init = True  # type: ignore[assignment]
    return module
