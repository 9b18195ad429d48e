"""Weights that follow what each stage costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.hooks import RunFacts, Weighting
from anytimenet.schemes.weighting.stage_weights import StageWeights, check_count, check_total, rescale


@dataclass(frozen=True)
class CostWeights:
    """A stage counts in proportion to a power of its sub-network's multiply-adds; the mean weight is 1.

    The inverse cost unless told otherwise, so that the cheapest stage counts most.

    Args:
        power: of the cost: -1 for the inverse, 1 for the cost itself, 0 for equal weights.
        total: the sum that all weights are rescaled to; None for the number of stages.

    Raises:
        ValueError: if the power is not finite or the total is not a positive number.

    >>> from anytimenet.nets import create_net
    >>> from anytimenet.schemes import RunFacts
    >>> net = create_net("msdnet_tiny")
    >>> macs = [1e6 * k for k in range(1, net.num_stages + 1)]
    >>> weights = CostWeights().build(net, RunFacts(stage_macs=lambda: macs)).weights([1, 2])
    >>> round(weights[1] / weights[2], 9)
    2.0
    """

    power: float = -1.0
    total: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.power):
            raise ValueError(f"the power of the cost must be a finite number, not {self.power}")
        check_total(self.total)

    def build(self, net: AnytimeNet, facts: RunFacts) -> Weighting:
        """The weighting of `net`.

        Raises:
            ValueError: if `facts` does not know the costs, or not one for each stage of the net.
        """
        if facts.stage_macs is None:
            raise ValueError(
                "weights that follow the cost need the size of the images: give input_shape to "
                "training.train, or use fit"
            )
        macs = facts.stage_macs()
        check_count(macs, net.num_stages)
        total = net.num_stages if self.total is None else self.total
        return StageWeights(rescale(_powers(macs, self.power), total))


def _powers(macs: Sequence[float], power: float) -> list[float]:
    """The power of each cost over the largest of these powers, which may itself be no float."""
    for stage, cost in enumerate(macs, 1):
        if not (cost > 0 and math.isfinite(cost)):
            raise ValueError(
                f"stage {stage} costs {cost} multiply-adds: weights need a positive, finite cost"
            )
    exponents = [power * math.log(cost) for cost in macs]
    return [math.exp(exponent - max(exponents)) for exponent in exponents]
