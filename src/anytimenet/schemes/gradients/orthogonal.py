"""Orthogonalised SGD: a stage learns only in directions that earlier ones do not use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.checks import check_choice
from anytimenet.schemes.gradients.projection import ProjectedGradients, Scope, check_scope
from anytimenet.schemes.hooks import GradientRule, RunFacts

First = Literal["early", "late"]

# Squared length, as a share of the gradient's, below which nothing but rounding is left of it.
_NOTHING_LEFT = 1e-12


@dataclass(frozen=True)
class OrthogonalGradients:
    """The sum of the stages' gradients after Gram-Schmidt orthogonalisation.

    v_1 = g_1 and v_i = g_i - sum_{j < i} <g_i, v_j> / <v_j, v_j> v_j, and the update is sum_i v_i. Momentum
    and weight decay are the optimiser's and come afterwards. Parameters that one stage alone uses are left
    alone. The v_i are orthogonal for each inner product of `scope`, and a step with one stage is plain SGD.

    In place of a constant added to <v_j, v_j>, a v_i of less than a millionth of the length of g_i counts as
    zero: g_i lies in the span of the earlier ones, and what is left of it is rounding, in any direction.

    Each step costs a backward for each stage and holds all their gradients.

    Wan, Hoffmann, Lu, Maire, "Orthogonalized SGD and Nested Architectures for Anytime Neural Networks",
    ICML 2020. What its inner products run over was not to be found without the full text: `scope`.

    Args:
        scope: inner products over each parameter ("tensor"), each block of the net ("block", see
            `block_of`), or all shared parameters ("net").
        first: the stage whose gradient is left whole: the earliest ("early", the paper's) or the latest.
        keep_norm: stretch each v_i to the length of g_i.

    Raises:
        ValueError: for a scope or a first stage that does not exist.

    >>> from anytimenet.nets import create_net
    >>> from anytimenet.schemes.hooks import RunFacts
    >>> rule = OrthogonalGradients(scope="block").build(create_net("isresnext_tiny"), RunFacts())
    >>> rule.linear
    False
    """

    scope: Scope = "tensor"
    first: First = "early"
    keep_norm: bool = False

    def __post_init__(self) -> None:
        check_scope(self.scope)
        check_choice("first", self.first, get_args(First))

    def build(self, net: AnytimeNet, facts: RunFacts) -> GradientRule:
        """The rule for `net`."""
        return ProjectedGradients(net, self.scope, self.first == "late", _GramSchmidt(self.keep_norm))


class _GramSchmidt(nn.Module):
    """From inner products `(groups, K, K)` of gradients to mixes of them that are orthogonal."""

    def __init__(self, keep_norm: bool) -> None:
        super().__init__()
        self._keep_norm = keep_norm

    def forward(self, products: Tensor) -> Tensor:
        mixes = torch.zeros_like(products)
        before = products.diagonal(dim1=1, dim2=2)  # <g_i, g_i>
        after = torch.zeros_like(before)  # <v_i, v_i>; 0 where nothing is left
        for i in range(products.shape[1]):
            mix = torch.zeros_like(before)
            mix[:, i] = 1
            earlier, squares = mixes[:, :i], after[:, :i]
            for _ in range(2):  # the second time takes away what rounding left of the first
                along = (earlier @ products @ mix.unsqueeze(2)).squeeze(2)
                shares = torch.where(squares > 0, along / squares, 0.0)
                mix = mix - (shares.unsqueeze(1) @ earlier).squeeze(1)
            square = (mix.unsqueeze(1) @ products @ mix.unsqueeze(2)).flatten()
            # Not `>`: what is not a number has to stay visible.
            nothing = square <= _NOTHING_LEFT * before[:, i]
            mixes[:, i] = mix.masked_fill(nothing.unsqueeze(1), 0.0)
            after[:, i] = square.masked_fill(nothing, 0.0)
        if self._keep_norm:
            mixes = mixes * torch.where(after > 0, before / after, 0.0).sqrt().unsqueeze(2)
        return mixes
