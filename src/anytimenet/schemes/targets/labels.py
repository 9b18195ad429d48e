"""The ground truth."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.facts import RunFacts
from anytimenet.schemes.hooks import Group, Lesson, Targets


@dataclass(frozen=True)
class FromLabels:
    """Every stage learns the labels, at every label level (sliced-networks paper, equations 1 and 2)."""

    def build(self, net: AnytimeNet, facts: RunFacts) -> Targets:
        """The targets of `net`."""
        return _FromLabels()


class _FromLabels(Targets):
    def losses(self, group: Group, lesson: Lesson) -> list[Tensor]:
        return [lesson.criterion(output, lesson.labels) for _, output in group]
