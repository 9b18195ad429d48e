"""The four questions that every training scheme answers, as interfaces.

Each hook has two faces: a frozen dataclass, which is configuration, and the module that its `build` makes
for one net, whose running averages and generators belong to the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from anytimenet.nets.contract import AnytimeNet, Output

Group = Sequence[tuple[int, Output]]
"""Some stages with their outputs, as `AnytimeNet.passes` yields them."""

GroupLoss = Callable[[Group], list[Tensor]]
"""The weighted losses of a group, one scalar per stage."""

Criterion = Callable[[Output, Any], Tensor]
"""The task's loss of one output against the labels of a batch."""


class Sampling(nn.Module):
    """Which stages run in a step, and in which order."""

    def draw(self) -> Sequence[int]:
        """The stages of the next step."""
        raise NotImplementedError


class Targets(nn.Module):
    """What each stage learns."""

    def losses(self, group: Group, labels: Any, criterion: Criterion) -> list[Tensor]:
        """The unweighted loss of each stage of a group."""
        raise NotImplementedError


class Weighting(nn.Module):
    """How much each stage counts."""

    def weights(self, stages: Sequence[int]) -> Mapping[int, float]:
        """The weight of each stage in the next step."""
        raise NotImplementedError

    def observe(self, losses: Mapping[int, Tensor]) -> None:
        """Called after the step with the detached, unweighted losses."""


class GradientRule(nn.Module):
    """How the gradients of the stages combine; owns forward and backward."""

    def forward(self, net: AnytimeNet, x: Tensor, stages: Sequence[int], loss: GroupLoss) -> None:
        """Adds the combined gradient to `.grad` of the parameters of `net`."""
        raise NotImplementedError


class HookConfig(Protocol):
    """Configuration of one hook."""

    def build(self, net: AnytimeNet) -> Any:
        """The hook's module for `net`."""
