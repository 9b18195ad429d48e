"""Alternating weights: in each step one drawn stage counts more, by as much as the last stage does."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from anytimenet.core.checks import choice, settle
from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.checks import WEIGHTS, Draws
from anytimenet.schemes.hooks import ADDED_LATER, HookConfig, RunFacts, Weighting
from anytimenet.schemes.weighting.sieve import SieveWeights
from anytimenet.schemes.weighting.stage_weights import StageWeights, check_total


@dataclass(frozen=True)
class AlternatingWeights:
    """Each step adds the last stage's weight beta_L to one stage, drawn with probability beta_i / sum beta.

    All stages that run learn in every step; with SIEVE beneath, half of the draws meet the last one. Where
    only some stages run, the draw is among them. From the workshop paper that precedes "Learning Anytime
    Predictions in Neural Networks via Adaptive Loss Balancing" (Hu et al., arXiv 1708.06832), where a net so
    trained is an AANN. The authors' code adds half of sum beta, which is the same with SIEVE and its kin and
    not on another base: `extra="half"`.

    Args:
        base: the weights beta beneath.
        total: the sum of all weights of a step, the drawn addition included, that they are rescaled to. It
            is sum beta and the addition in every step, whatever is drawn: 3 with SIEVE, which has 2 by
            itself. None to leave them; `total` of `base` is that of beta alone.
        extra: what the drawn stage gets: "last", beta_L, or "half", half of sum beta over all stages.

    Raises:
        ValueError: if the base itself draws, or the total is not a positive number.

    >>> from anytimenet.nets import create_net
    >>> from anytimenet.schemes import RunFacts
    >>> built = AlternatingWeights().build(create_net("msdnet_tiny"), RunFacts(seed=1))
    >>> [sum(built.weights([1, 2, 3]).values()) for _ in range(3)]
    [3.0, 3.0, 3.0]
    """

    base: HookConfig = field(default_factory=SieveWeights)
    total: float | None = None
    extra: Literal["last", "half"] = field(default="last", metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        settle(self, "extra", choice, ("last", "half"))
        if isinstance(self.base, AlternatingWeights):
            raise ValueError(
                "alternating weights on alternating weights would draw the same stage twice: give a base "
                "that does not draw"
            )
        check_total(self.total)

    def build(self, net: AnytimeNet, facts: RunFacts) -> Weighting:
        """The weighting of `net`.

        Raises:
            ValueError: if the base cannot be built, or gives the last stage no weight.
        """
        base = self.base.build(net, facts)
        fixed, halves = isinstance(base, StageWeights), self.extra == "half"
        if fixed and not halves and not base.weights([net.num_stages])[net.num_stages] > 0:
            raise ValueError(
                "alternating weights add the last stage's weight, which is 0: give a base with more, or add "
                'half of the sum (extra="half")'
            )
        return _AlternatingWeights(base, Draws(facts.seed, WEIGHTS), net.num_stages, self.total, halves)


class _AlternatingWeights(Weighting):
    def __init__(
        self, base: Weighting, draws: Draws, num_stages: int, total: float | None, halves: bool
    ) -> None:
        super().__init__()
        self.base, self.draws, self._halves = base, draws, halves
        self._all, self._total = range(1, num_stages + 1), total

    def weights(self, stages: Sequence[int]) -> Mapping[int, float]:
        beta = self.base.weights(self._all)
        whole = math.fsum(beta.values())
        extra = whole / 2 if self._halves else beta[self._all[-1]]
        scale = 1.0 if self._total is None else self._total / (whole + extra)
        drawn = self._draw(beta, sorted(stages))
        return {stage: scale * (beta[stage] + extra * (stage == drawn)) for stage in stages}

    def observe(self, losses: Mapping[int, Tensor]) -> None:
        self.base.observe(losses)

    def _draw(self, beta: Mapping[int, float], stages: Sequence[int]) -> int | None:
        """One of the stages; none where those that run have no weight, and so no chance."""
        generator = self.draws.next()
        whole = math.fsum(beta[stage] for stage in stages)
        if not whole > 0:
            return None
        return int(generator.choice(stages, p=[beta[stage] / whole for stage in stages]))
