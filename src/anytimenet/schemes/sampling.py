"""Which stages run in a step, and in which order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.checks import STAGES, Draws, check_choice, check_whole
from anytimenet.schemes.hooks import RunFacts, Sampling
from anytimenet.schemes.weighting.stage_weights import check_count, check_weights


@dataclass(frozen=True)
class AllStages:
    """Every stage in every step, from the cheapest on."""

    def build(self, net: AnytimeNet, facts: RunFacts) -> Sampling:
        """The sampling of `net`."""
        return _Sampling(tuple(range(1, net.num_stages + 1)))


@dataclass(frozen=True)
class Sandwich:
    """The largest stage first, then the smallest, then distinct random ones of those between.

    A net with fewer stages between runs them all. Source: US-Nets (Yu and Huang, ICCV 2019), the sandwich
    rule with two random widths; the same rule over lengths in the Length-Adaptive Transformer (ACL 2021).

    Args:
        random: how many stages between the largest and the smallest run in a step.

    Raises:
        ValueError: for a negative number.

    >>> from anytimenet.nets import create_net
    >>> Sandwich(random=1).build(create_net("isresnext_tiny"), RunFacts(seed=1)).draw()
    (3, 1, 2)
    """

    random: int = 2

    def __post_init__(self) -> None:
        check_whole("random", self.random, 0)

    def build(self, net: AnytimeNet, facts: RunFacts) -> Sampling:
        """The sampling of `net`."""
        last = net.num_stages
        between = range(2, last)
        fixed = (last, 1) if last > 1 else (1,)
        return _Sampling(fixed, between, [1.0] * len(between), min(self.random, len(between)), facts.seed)


@dataclass(frozen=True)
class DrawnStages:
    """Some distinct stages a step, drawn with probability in proportion to weights.

    Several are drawn one after the other, each in proportion to the weights of those that are left. With
    equal weights this is the uniform sampling of SortedNet (2309.00255).

    Args:
        count: how many stages are drawn for a step.
        weights: one for each stage, stage 1 first; all equal by default. They need not sum to 1.
        always: ("largest",), ("smallest",) or both: they run in every step before the `count` stages, which
            are then drawn from the others; their own weights do not matter.

    Raises:
        ValueError: for weights that are negative or all zero, or fewer positive ones than `count`.

    >>> DrawnStages(weights=(1, -1))
    Traceback (most recent call last):
    ...
    ValueError: the weight of stage 2 is -1.0: give a finite number, 0 or more
    """

    count: int = 1
    weights: tuple[float, ...] | None = None
    always: tuple[Literal["largest", "smallest"], ...] = ()

    def __post_init__(self) -> None:
        check_whole("count", self.count, 1)
        if isinstance(self.always, str):
            raise ValueError(f'always {self.always!r}: a list is needed, for example ["{self.always}"]')
        object.__setattr__(self, "always", tuple(self.always))
        for name in self.always:
            check_choice("the stage in always,", name, _ENDS)
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))
            check_weights(self.weights)

    def build(self, net: AnytimeNet, facts: RunFacts) -> Sampling:
        """The sampling of `net`.

        Raises:
            ValueError: if the net has another number of stages than there are weights, or too few of them
                can be drawn.
        """
        last = net.num_stages
        weights = self.weights or (1.0,) * last
        check_count(weights, last)
        ends = {"largest": last, "smallest": 1}
        fixed = tuple(dict.fromkeys(ends[name] for name in _ENDS if name in self.always))
        free = [stage for stage in range(1, last + 1) if stage not in fixed]
        chances = [weights[stage - 1] for stage in free]
        possible = sum(chance > 0 for chance in chances)
        if self.count > possible:
            left = " and do not run anyway" if fixed else ""
            cure = f"draw at most {possible}" if possible else "leave always out"
            raise ValueError(
                f"{self.count} stages a step cannot be drawn: {possible} of {last} have a positive weight"
                f"{left}; {cure}, or raise weights"
            )
        return _Sampling(fixed, free, chances, self.count, facts.seed)


_ENDS = ("largest", "smallest")


class _Sampling(Sampling):
    """The `fixed` stages, then `count` of the `free` ones, drawn in proportion to `weights`."""

    def __init__(
        self,
        fixed: Sequence[int],
        free: Sequence[int] = (),
        weights: Sequence[float] = (),
        count: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        drawable = tuple(stage for stage, weight in zip(free, weights, strict=True) if weight > 0)
        self.every_stage = count == len(free)
        self.always = (*fixed, *(drawable if count == len(drawable) else ()))
        self.possible = (*fixed, *drawable)
        self._fixed, self._free, self._count = tuple(fixed), tuple(free), count
        total = math.fsum(weights)
        self._chances = [weight / total for weight in weights]
        self._draws = Draws(seed, STAGES) if count else None

    def draw(self) -> Sequence[int]:
        if self._draws is None:
            return self._fixed
        chosen = self._draws.next().choice(len(self._free), self._count, replace=False, p=self._chances)
        return (*self._fixed, *(self._free[i] for i in chosen))
