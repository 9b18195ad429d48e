"""How much each stage's loss counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.hooks import Weighting


@dataclass(frozen=True)
class ConstantWeights:
    """The same weight for every stage: 1, a plain sum of losses, unless told otherwise.

    Raises:
        ValueError: if the weight is not a positive number.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise ValueError(f"a stage's weight must be a positive number, not {self.weight}")

    def build(self, net: AnytimeNet) -> Weighting:
        """The weighting of `net`."""
        return _ConstantWeights(self.weight)


class _ConstantWeights(Weighting):
    def __init__(self, weight: float) -> None:
        super().__init__()
        self._weight = weight

    def weights(self, stages: Sequence[int]) -> Mapping[int, float]:
        return dict.fromkeys(stages, self._weight)
