"""Projection only on conflict: a gradient is changed only where it works against another stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.checks import ORDERS, Draws, check_choice
from anytimenet.schemes.gradients.projection import ProjectedGradients, Scope, check_scope
from anytimenet.schemes.hooks import GradientRule, RunFacts

Order = Literal["random", "early", "late"]


@dataclass(frozen=True)
class ConflictProjection:
    """The sum of the stages' gradients, each without what works against others.

    v_i starts as g_i. For one other stage j after another, where <v_i, g_j> < 0, v_i loses its component
    along g_j: v_i <- v_i - <v_i, g_j> / <g_j, g_j> g_j, with the original g_j. The update is sum_i v_i.
    Gradients that agree are left as they are, and so are parameters that one stage alone uses.

    Each step costs a backward for each stage and holds all their gradients.

    Order "random" over all shared parameters is PCGrad as published: Yu et al., "Gradient Surgery for
    Multi-Task Learning", NeurIPS 2020, algorithm 1. The one-sided orders are in the manner of Gong et al.,
    "NASViT", ICLR 2022, who give smaller sub-networks priority; for more than two stages they are ours.

    Args:
        scope: inner products over each parameter ("tensor"), each block of the net ("block", see
            `block_of`), or all shared parameters ("net").
        order: which other stages, and in which order. "random": all, in an order drawn for each stage in
            each step. "early": those before it, from the earliest on, so that early stages have priority.
            "late": those after it, from the latest on.

    Raises:
        ValueError: for a scope or an order that does not exist.

    >>> ConflictProjection(order="early")
    ConflictProjection(scope='net', order='early')
    """

    scope: Scope = "net"
    order: Order = "random"

    def __post_init__(self) -> None:
        check_scope(self.scope)
        check_choice("order", self.order, get_args(Order))

    def build(self, net: AnytimeNet, facts: RunFacts) -> GradientRule:
        """The rule for `net`."""
        draws = Draws(facts.seed, ORDERS) if self.order == "random" else None
        return ProjectedGradients(net, self.scope, self.order == "late", _WithoutConflict(draws))


class _WithoutConflict(nn.Module):
    """From inner products `(groups, K, K)` of gradients to mixes of them that do not work against others.

    With `draws` against all others, in an order that they give; without, against those before.
    """

    def __init__(self, draws: Draws | None) -> None:
        super().__init__()
        self.draws = draws

    def forward(self, products: Tensor) -> Tensor:
        count = products.shape[1]
        mixes = torch.eye(count, dtype=products.dtype, device=products.device).repeat(len(products), 1, 1)
        # A gradient of zeros has no inner product with any other: 0 / tiny is 0.
        squares = products.diagonal(dim1=1, dim2=2).clamp_min(torch.finfo(products.dtype).tiny)
        for i, others in enumerate(self._others(count)):
            for j in others:
                along = (mixes[:, i] * products[:, :, j]).sum(dim=1)
                mixes[:, i, j] -= along.clamp_max(0) / squares[:, j]
        return mixes

    def _others(self, count: int) -> list[Sequence[int]]:
        """For each gradient, those it is projected against, one after another."""
        if self.draws is None:
            return [range(i) for i in range(count)]
        generator = self.draws.next()
        return [generator.permutation([j for j in range(count) if j != i]).tolist() for i in range(count)]
