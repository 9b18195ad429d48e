"""What each stage learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.hooks import Criterion, Group, Targets


@dataclass(frozen=True)
class FromLabels:
    """Every stage learns the labels, at every label level (sliced-networks paper, equations 1 and 2)."""

    def build(self, net: AnytimeNet) -> Targets:
        """The targets of `net`."""
        return _FromLabels()


class _FromLabels(Targets):
    def losses(self, group: Group, labels: Any, criterion: Criterion) -> list[Tensor]:
        return [criterion(output, labels) for _, output in group]
