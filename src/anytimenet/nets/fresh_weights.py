"""Fresh weights for the shapes that a net has: what a sub-network that is trained alone starts from."""

from __future__ import annotations

import inspect

import torch

from anytimenet.layers.frozen import frozen_modules
from anytimenet.layers.init import init_weights
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.registry import net_entry


@torch.no_grad()
def draw_weights(net: AnytimeNet) -> None:
    """Draws every weight of `net` anew, in place, as if it had been built with its present shapes.

    `keep` cuts weights out of a larger net; their spread was chosen for the larger shapes, and training has
    moved them. Here every layer starts again: first as PyTorch's layers do, then by the `init` that the net
    was built with; BatchNorms and their statistics are reset. Random numbers come from PyTorch's
    generator: seed it first.

    Raises:
        ValueError: if a layer holds parameters of its own and says nowhere how they are drawn, or a part of
            the net is frozen.

    >>> from anytimenet.nets import create_net
    >>> thin = create_net("iresnext_tiny").keep((1,))
    >>> _ = torch.manual_seed(0)
    >>> draw_weights(thin)
    """
    if frozen_modules(net):
        raise ValueError(
            "a frozen module keeps its weights: wrap it without frozen=True to train from scratch"
        )
    if net.whole_nets() != (net,):
        for member in net.whole_nets():  # each as it was built
            draw_weights(member)
        return
    known: set[int] = set()
    for name, module in net.named_modules():
        if callable(getattr(module, "init_weights", None)):
            # A layer that holds its weight in pieces (a ParameterList) answers for the pieces.
            known.update(id(parameter) for parameter in module.parameters())
            continue
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
            known.update(id(parameter) for parameter in module.parameters())
        unknown = [key for key, p in module.named_parameters(recurse=False) if id(p) not in known]
        if unknown:
            raise ValueError(
                f"{'.'.join(filter(None, (name, unknown[0])))} cannot be drawn anew: give "
                f"{type(module).__name__} a method reset_parameters()"
            )
    init_weights(net, _init_of(net))


def _init_of(net: AnytimeNet) -> str:
    """The `init` that the net was built with; PyTorch's own for a net that knows no other."""
    if "init" in net.arguments:
        return str(net.arguments["init"])
    if net.origin is None:
        return "pytorch"
    if "init" in net.origin.arguments:
        return str(net.origin.arguments["init"])
    parameter = inspect.signature(net_entry(net.origin.name).build).parameters.get("init")
    return "pytorch" if parameter is None else parameter.default
