"""Rules that project the stages' gradients on one another: the part that all of them share.

A projected gradient v_i is a mix of the gradients g_1..g_K of the stages, and which mix depends on their
inner products alone. So the gradients are read twice, however many stages there are: for the table of inner
products, and for the one mix that is their update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.checks import check_choice
from anytimenet.schemes.gradients.stagewise import (
    StageGradients,
    add_gradient,
    parameter_users,
    stage_gradients,
)
from anytimenet.schemes.hooks import GradientRule, GroupLoss

Scope = Literal["tensor", "block", "net"]
"""What one inner product runs over: one parameter, one block (see `block_of`), or all shared parameters."""


class ProjectedGradients(GradientRule):
    """Adds sum_i v_i to `.grad`, where `mixer` says how each v_i is made of the stages' gradients.

    Parameters that a single stage of the step uses are left alone: they get its gradient and enter no inner
    product. On others, a stage that does not use the parameter has the gradient zero.

    Args:
        net: the net in training.
        scope: what one inner product runs over.
        latest_first: the latest stage comes first; else the earliest.
        mixer: called once a step with inner products `(groups, K, K)` in float64, first stage first; returns
            mixes of that shape, v_i in row i.
    """

    linear = False

    def __init__(self, net: AnytimeNet, scope: Scope, latest_first: bool, mixer: nn.Module) -> None:
        super().__init__()
        self._users = parameter_users(net)
        self._groups = {name: _group_of(name, scope) for name in self._users}
        self._latest_first = latest_first
        self.mixer = mixer

    def forward(self, net: AnytimeNet, x: Tensor, stages: Sequence[int], loss: GroupLoss) -> None:
        gradients = stage_gradients(net, self._users, x, stages, loss)
        # Inner products in bfloat16 would be worth nothing.
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            self.average([each.rows for each in gradients])
            self._combine(gradients, sorted(stages, reverse=self._latest_first))

    def _combine(self, gradients: Sequence[StageGradients], order: Sequence[int]) -> None:
        shared = [each for each in gradients if each.shared]
        for each in gradients:
            if not each.shared:
                add_gradient(each.parameter, each.rows[0])
        if not shared:
            return
        places = {each.stages: _places(each.stages, order, each.rows.device) for each in shared}
        table: dict[str, Tensor] = {}
        for each in shared:
            rows, place = each.rows.double(), places[each.stages]
            products = place.T @ (rows @ rows.T) @ place
            group = self._groups[each.name]
            table[group] = table[group] + products if group in table else products
        # The update is the sum of all v_i: the sum of the rows of the mix.
        weights = self.mixer(torch.stack(list(table.values()))).sum(dim=1)
        weight_of = dict(zip(table, weights.unbind(), strict=True))
        for each in shared:
            weight = places[each.stages] @ weight_of[self._groups[each.name]]
            add_gradient(each.parameter, weight.to(each.rows.dtype) @ each.rows)


def check_scope(scope: str) -> None:
    """Raises ValueError unless `scope` is a `Scope`."""
    check_choice("scope", scope, get_args(Scope))


def block_of(name: str) -> str:
    """The block that a parameter belongs to: its module's path up to the first number, else the first word.

    On a chain these are the members of `blocks`; elsewhere, the members of the net's lists of modules and
    the other modules at its top.

    >>> block_of("blocks.3.layer1.conv.weight"), block_of("stem.conv.weight")
    ('blocks.3', 'stem')
    >>> block_of("backbone.layer1.0.conv1.weight"), block_of("scale")
    ('backbone.layer1.0', 'scale')
    """
    words = name.split(".")
    numbers = [place for place, word in enumerate(words[:-1]) if word.isdigit()]
    return ".".join(words[: numbers[0] + 1]) if numbers else words[0]


def _group_of(name: str, scope: Scope) -> str:
    groups: Mapping[Scope, str] = {"tensor": name, "block": block_of(name), "net": ""}
    return groups[scope]


def _places(stages: Sequence[int], order: Sequence[int], device: torch.device) -> Tensor:
    """Ones where a stage of `stages` (rows) has its place in `order` (columns)."""
    places = torch.tensor([[float(stage == other) for other in order] for stage in stages])
    return places.to(device, torch.float64)
