"""Which stages run in a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.hooks import Sampling


@dataclass(frozen=True)
class AllStages:
    """Every stage in every step, from the cheapest on."""

    def build(self, net: AnytimeNet) -> Sampling:
        """The sampling of `net`."""
        return _AllStages(net.num_stages)


class _AllStages(Sampling):
    every_stage = True

    def __init__(self, num_stages: int) -> None:
        super().__init__()
        self._stages = tuple(range(1, num_stages + 1))

    def draw(self) -> Sequence[int]:
        return self._stages
