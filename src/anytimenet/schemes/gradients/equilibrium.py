"""Gradient equilibrium: no block is pushed harder because more exits lie behind it.

Source: Li et al., "Improved Techniques for Training Adaptive Deep Networks" (IMTA), gradient equilibrium.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anytimenet.nets.contract import AnytimeNet, Output
from anytimenet.schemes.gradients.chains import chain_of
from anytimenet.schemes.hooks import GradientRule, GroupLoss, RunFacts


@dataclass(frozen=True)
class GradientEquilibrium:
    """At exit i of n its own loss counts 1 / (n-i+1) in the features' gradient, later ones (n-i) / (n-i+1).

    In a step that runs only some exits, n counts those. Classifiers get their whole gradient, and the forward
    pass is the ordinary one. Rescaled is the tensor that the exit's head reads, the last of the state, as the
    net orders it: in MSDNet the coarsest scale alone, as published.

    Raises:
        ValueError: by `build` for a net that is no chain of blocks.

    >>> from anytimenet.schemes import Scheme
    >>> scheme = Scheme(gradients=GradientEquilibrium())
    """

    def build(self, net: AnytimeNet, facts: RunFacts) -> GradientRule:
        """The rule for `net`."""
        chain_of(net, "gradient equilibrium acts")
        return _EquilibriumGradients()


class _EquilibriumGradients(GradientRule):
    def forward(self, net: AnytimeNet, x: Tensor, stages: Sequence[int], loss: GroupLoss) -> None:
        net.check_batch(x.shape)
        chain = chain_of(net, "gradient equilibrium acts")
        outputs: dict[int, Output] = {}
        state: tuple[Tensor, ...] = (x,)
        for number in range(1, max(stages) + 1):
            state = chain.blocks[number - 1](state)
            if number in stages:
                later = sum(stage > number for stage in stages)
                features = _scale_gradient(state[-1], 1 / (later + 1))
                outputs[number] = chain.heads[number - 1]((features,))
                state = (*state[:-1], _scale_gradient(features, later))
        torch.stack(loss([(stage, outputs[stage]) for stage in stages])).sum().backward()


def _scale_gradient(tensor: Tensor, factor: float) -> Tensor:
    """The same values; their gradient is multiplied by `factor`."""
    return tensor if factor == 1 else _ScaleGradient.apply(tensor, factor)  # type: ignore[no-untyped-call]


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None
