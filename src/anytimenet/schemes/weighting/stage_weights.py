"""Weights by the number of the stage: what all members of the hook share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from anytimenet.schemes.hooks import Weighting


class StageWeights(Weighting):
    """Weights that stand for the whole run.

    A stage's weight goes by its number among all stages of the net, also where only some of them run.

    Args:
        values: the weight of each stage, stage 1 first.
    """

    def __init__(self, values: Sequence[float]) -> None:
        super().__init__()
        self._values = tuple(values)

    def weights(self, stages: Sequence[int]) -> Mapping[int, float]:
        return {stage: self._values[stage - 1] for stage in stages}


def rescale(values: Sequence[float], total: float | None) -> tuple[float, ...]:
    """The weights in the same proportions with the sum `total`; as they are where it is None.

    >>> rescale([1, 1, 2], total=2)
    (0.5, 0.5, 1.0)
    """
    if total is None:
        return tuple(float(value) for value in values)
    whole = math.fsum(values)
    return tuple(value / whole * total for value in values)


def check_weights(values: Sequence[float]) -> None:
    """Raises ValueError unless the weights are finite, none is negative and one is positive."""
    for stage, value in enumerate(values, 1):
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"the weight of stage {stage} is {value}: give a finite number, 0 or more")
    if not any(values):
        raise ValueError("no stage has a weight above 0, so that nothing would be learnt: raise at least one")


def check_count(values: Sequence[float], num_stages: int) -> None:
    """Raises ValueError unless there is one weight a stage."""
    if len(values) != num_stages:
        raise ValueError(f"{len(values)} weights for a net of {num_stages} stages: give one for each stage")


def check_total(total: float | None) -> None:
    """Raises ValueError unless the sum that weights are rescaled to is a positive number, or None."""
    if total is not None and not (total > 0 and math.isfinite(total)):
        raise ValueError(f"the weights cannot have the total {total}: give a positive number, or None")
