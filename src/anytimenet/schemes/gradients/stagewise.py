"""Each stage's own gradient of every parameter, for rules that are not linear in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.hooks import GroupLoss


@dataclass(frozen=True, eq=False)
class StageGradients:
    """Each stage's own gradient of one parameter.

    Attributes:
        name: of the parameter.
        parameter: itself.
        stages: the stages of this step whose sub-networks use it, in increasing order.
        rows: their gradients, `(stages, numel)`.
    """

    name: str
    parameter: nn.Parameter
    stages: tuple[int, ...]
    rows: Tensor

    @property
    def shared(self) -> bool:
        """Whether more than one stage of this step uses the parameter."""
        return len(self.stages) > 1


def parameter_users(net: AnytimeNet) -> dict[str, frozenset[int]]:
    """The stages whose sub-networks use each parameter, or a part of it, as `parts` says.

    >>> from anytimenet.nets import create_net
    >>> users = parameter_users(create_net("isresnext_tiny"))
    >>> sorted(users["stem.conv.weight"]), sorted(users["blocks.0.conv1.rows.1"])
    ([1, 2, 3], [2, 3])
    """
    by_entry: dict[str, set[int]] = defaultdict(set)
    for part in net.parts():
        by_entry[part.name].update(part.stages)
    first_names: dict[int, str] = {}
    users: dict[str, frozenset[int]] = {}
    # A parameter with two names is used by the stages of both.
    for name, parameter in net.named_parameters(remove_duplicate=False):
        first = first_names.setdefault(id(parameter), name)
        users[first] = users.get(first, frozenset()) | by_entry[name]
    return users


def stage_gradients(
    net: AnytimeNet,
    users: Mapping[str, frozenset[int]],
    x: Tensor,
    stages: Sequence[int],
    loss: GroupLoss,
) -> list[StageGradients]:
    """One forward and a backward for each of `stages`; all their graphs and gradients are in memory.

    Which gradients come out depends on `users` (see `parameter_users`) and `stages` alone, never on the
    batch, so that processes can average them. A parameter that none of `stages` uses is left out. `.grad` is
    left alone.
    """
    named = [(name, p) for name, p in net.named_parameters() if p.requires_grad]
    losses = dict(zip(stages, loss(list(zip(stages, net(x, stages), strict=True))), strict=True))
    last = stages[-1]
    own: dict[tuple[str, int], Tensor] = {}
    for stage in stages:
        used = {name: p for name, p in named if stage in users.get(name, ())}
        if not used:
            continue
        gradients = torch.autograd.grad(
            losses[stage], list(used.values()), retain_graph=stage != last, materialize_grads=True
        )
        own.update({(name, stage): g for name, g in zip(used, gradients, strict=True)})
    by_parameter = []
    for name, parameter in named:
        touching = tuple(stage for stage in sorted(stages) if (name, stage) in own)
        if touching:
            # Taken out one by one, so that the gradients are never in memory twice.
            rows = torch.stack([own.pop((name, stage)).flatten() for stage in touching])
            by_parameter.append(StageGradients(name, parameter, touching, rows))
    return by_parameter


def add_gradient(parameter: nn.Parameter, gradient: Tensor) -> None:
    """Adds a gradient, flat or not, to `.grad`, which has the memory layout of the parameter.

    Backward does so by itself and fused optimisers count on it; `torch.autograd.grad` does not.
    """
    shaped = gradient.view(parameter.shape) if gradient.shape != parameter.shape else gradient
    if parameter.grad is None:
        parameter.grad = torch.empty_like(parameter, requires_grad=False).copy_(shaped)
    else:
        parameter.grad.add_(shaped)
