"""Weights that are fixed by the number of stages alone, or given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.hooks import RunFacts, Weighting
from anytimenet.schemes.weighting.stage_weights import (
    StageWeights,
    check_count,
    check_total,
    check_weights,
    rescale,
)


@dataclass(frozen=True)
class ConstantWeights:
    """The same weight for every stage (CONST): 1, a plain sum of losses, unless told otherwise.

    Args:
        weight: of each stage.
        total: the sum that all weights are rescaled to, whatever `weight` is; None to leave them.

    Raises:
        ValueError: if the weight or the total is not a positive number.
    """

    weight: float = 1.0
    total: float | None = None

    def __post_init__(self) -> None:
        if not (self.weight > 0 and math.isfinite(self.weight)):
            raise ValueError(f"a stage's weight must be a positive number, not {self.weight}")
        check_total(self.total)

    def build(self, net: AnytimeNet, facts: RunFacts) -> Weighting:
        """The weighting of `net`."""
        return StageWeights(rescale([self.weight] * net.num_stages, self.total))


@dataclass(frozen=True)
class LinearWeights:
    """Weights that grow evenly from 1/4 at the first of L stages to 1 at the last (LINEAR).

    beta_i = 0.25 + 0.75 (i - 1) / (L - 1), a baseline of "Learning Anytime Predictions in Neural Networks
    via Adaptive Loss Balancing" (Hu et al., arXiv 1708.06832). A single stage has the weight 1.

    Args:
        total: the sum that all weights are rescaled to; None to leave them.

    Raises:
        ValueError: if the total is not a positive number.
    """

    total: float | None = None

    def __post_init__(self) -> None:
        check_total(self.total)

    def build(self, net: AnytimeNet, facts: RunFacts) -> Weighting:
        """The weighting of `net`."""
        later = net.num_stages - 1
        early = [0.25 + 0.75 * i / later for i in range(later)]
        return StageWeights(rescale([*early, 1.0], self.total))


@dataclass(frozen=True)
class HalfEndWeights:
    """Half of all weight on the last stage (HALF-END): it has 1, the earlier ones share 1 equally.

    Args:
        total: the sum that all weights are rescaled to; None to leave them.

    Raises:
        ValueError: if the total is not a positive number.
    """

    total: float | None = None

    def __post_init__(self) -> None:
        check_total(self.total)

    def build(self, net: AnytimeNet, facts: RunFacts) -> Weighting:
        """The weighting of `net`."""
        earlier = net.num_stages - 1
        return StageWeights(rescale([*[1 / earlier] * earlier, 1.0] if earlier else [1.0], self.total))


@dataclass(frozen=True)
class GivenWeights:
    """Weights from a list. All of them 0 but one trains that stage alone (OPT).

    Args:
        weights: one for each stage of the net, stage 1 first. Without them it cannot be built; they can still
            be set then, as the command line does.
        total: the sum that they are rescaled to; None to leave them.

    Raises:
        ValueError: if a weight is negative or not finite, all are 0, or the total is not positive.

    >>> GivenWeights((0.5, 0.5, 1))
    GivenWeights(weights=(0.5, 0.5, 1.0), total=None)
    """

    weights: tuple[float, ...] = ()
    total: float | None = None

    def __post_init__(self) -> None:
        # JSON has lists only; a tuple keeps the configuration hashable.
        object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))
        if self.weights:
            check_weights(self.weights)
        check_total(self.total)

    def build(self, net: AnytimeNet, facts: RunFacts) -> Weighting:
        """The weighting of `net`.

        Raises:
            ValueError: if the net has another number of stages.
        """
        check_count(self.weights, net.num_stages)
        return StageWeights(rescale(self.weights, self.total))


@dataclass(frozen=True)
class CalledWeights:
    """Weights that a function of the number of stages returns.

    It is called once, when the scheme is built. Weights that change in the course of a run are a
    `Weighting` of one's own, whose state a checkpoint can carry.

    Args:
        function: from the number of stages to one weight for each, stage 1 first. From Python only: it has
            no form in JSON.
        total: the sum that the weights are rescaled to; None to leave them.

    Raises:
        ValueError: if the total is not a positive number.

    >>> from anytimenet.nets import create_net
    >>> from anytimenet.schemes import RunFacts
    >>> squares = CalledWeights(lambda stages: [k**2 for k in range(1, stages + 1)])
    >>> squares.build(create_net("msdnet_tiny"), RunFacts()).weights([1, 2])
    {1: 1.0, 2: 4.0}
    """

    function: Callable[[int], Sequence[float]]
    total: float | None = None

    def __post_init__(self) -> None:
        check_total(self.total)

    def build(self, net: AnytimeNet, facts: RunFacts) -> Weighting:
        """The weighting of `net`.

        Raises:
            ValueError: if the function returns another number of weights than the net has stages, a negative
                one, one that is not finite, or zeros only.
        """
        values = [float(value) for value in self.function(net.num_stages)]
        check_count(values, net.num_stages)
        check_weights(values)
        return StageWeights(rescale(values, self.total))
