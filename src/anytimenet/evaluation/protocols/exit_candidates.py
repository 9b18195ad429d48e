"""Thresholds worth trying, and the order in which they are tried: both from examples set apart for that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import log

import numpy as np

from anytimenet.core.answers.exit_thresholds import exit_shares, solve_thresholds
from anytimenet.evaluation.protocols.exit_data import ExitData

REACHED = -2.0
"""A threshold that every score reaches."""
_SHARES = 48
_LEVELS = 64
_RISKS = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 60)])


@dataclass(frozen=True, eq=False)
class Candidate:
    """Thresholds, and what they did on the examples they were found on.

    Attributes:
        thresholds: `(stages,)` or `(stages, classes)`; +inf where nobody leaves, -inf at the last stage.
        mean_cost: of an example.
        risk: share of them with the loss 1.
        doubt: how far down the order of scores examples still leave early: the mean share of surer ones.
    """

    thresholds: np.ndarray
    mean_cost: float
    risk: float
    doubt: float

    @property
    def last_used(self) -> int:
        """The stage, from 1, at which at the latest every example has left, whatever its scores."""
        table = self.thresholds.reshape(len(self.thresholds), -1)
        return int((table <= REACHED).all(axis=1).argmax()) + 1

    @property
    def never_early(self) -> bool:
        """Whether every example goes on to the end, whatever its scores."""
        return bool(np.isinf(self.thresholds[:-1]).all())


def candidates(
    data: ExitData, loss: np.ndarray, costs: np.ndarray, rule: str, classes: int
) -> list[Candidate]:
    """Those that no other one beats in both cost and risk, from the cheapest to the safest.

    Three families are tried: leaving shares that fall or rise by a factor from stage to stage (MSDNet);
    one threshold for all stages; and for each stage, or each class at each stage, the least threshold above
    which a risk holds. In trials on drawn logits the second alone did as well as all three, and the first
    alone cost 10 to 15 % more for the same disagreement. Beside them are "all leave at stage 1" and "all go
    on to the end". Of equal risk, such as none on so few examples, the one that lets only the surest go is
    taken for the safer one.

    Args:
        data: examples that will not judge the candidates.
        loss: 0 or 1 of each stage and example.
        costs: of an example that leaves at each stage.
        rule: what the scores are.
        classes: of the net.
    """
    surer = _surer(data.scores)
    found = []
    for thresholds in _families(data, loss, rule, classes):
        stages = data.stages(thresholds)
        early = stages < data.num_stages
        cost, risk = float(costs[stages - 1].mean()), float(data.at(loss, stages).mean())
        found.append(Candidate(thresholds, cost, risk, float((data.at(surer, stages) * early).mean())))
    found.sort(key=lambda one: (one.mean_cost, one.risk, one.doubt))
    frontier: list[Candidate] = []
    for one in found:
        if not frontier or (one.risk, one.doubt) < (frontier[-1].risk, frontier[-1].doubt):
            frontier.append(one)
    return frontier


def _surer(scores: np.ndarray) -> np.ndarray:
    """Share of the examples whose score at a stage is at least this high, of each."""
    return np.stack([1 - np.searchsorted(np.sort(row), row, side="left") / len(row) for row in scores])


def _families(data: ExitData, loss: np.ndarray, rule: str, classes: int) -> Iterator[np.ndarray]:
    stages, groups = data.num_stages, classes if rule == "per_class" else 1
    for first in (np.inf, REACHED):
        yield _ended(np.full((stages, groups), first))
    for thresholds in (*_by_shares(data), *(np.full((stages, 1), one) for one in _levels(data.scores[:-1]))):
        yield _ended(thresholds.repeat(groups, axis=1))
    members = data.answers if groups > 1 else np.zeros_like(data.answers)
    yield from map(_ended, _by_risk(data.scores, loss, members, groups))


def _by_shares(data: ExitData) -> Iterator[np.ndarray]:
    for exponent in np.linspace(-log(1e3 * data.count), log(1e3 * data.count), _SHARES):
        yield solve_thresholds(data.scores, exit_shares(float(np.exp(exponent)), data.num_stages))[:, None]


def _levels(scores: np.ndarray) -> np.ndarray:
    """Evenly many examples apart; all that there are of few."""
    if not scores.size:
        return scores
    return np.unique(np.quantile(scores, np.linspace(0, 1, _LEVELS), method="nearest"))


def _by_risk(scores: np.ndarray, loss: np.ndarray, members: np.ndarray, groups: int) -> np.ndarray:
    """For each risk, the least thresholds above which it holds, (risks, stages, groups).

    The risk of the n surest of a group with e losses is taken for (e + 1) / (n + 2): two of them tell little.

    Args:
        scores: (stages, examples).
        loss: 0 or 1, likewise.
        members: the group of each, likewise.
        groups: how many there are.
    """
    found = np.full((len(_RISKS), len(scores), groups), np.inf)
    for k in range(len(scores)):
        order = np.lexsort((-scores[k], members[k]))
        ends = np.searchsorted(members[k][order], np.arange(groups + 1))
        for group, (start, stop) in enumerate(pairwise(ends)):
            if start < stop:
                own = order[start:stop]
                found[:, k, group] = _least(scores[k, own], loss[k, own])
    return found


def _least(scores: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Of one group, the surest first: for each risk the least threshold, +inf where none holds it."""
    risks = (loss.cumsum() + 1) / (np.arange(len(loss)) + 3)
    risks[:-1][scores[1:] == scores[:-1]] = np.inf  # of equal scores all leave or none
    within = np.minimum.accumulate(risks[::-1])[::-1]  # the least risk of this many or more of them
    count = np.searchsorted(within, _RISKS, side="right")
    return np.where(count > 0, scores[count - 1], np.inf)


def _ended(thresholds: np.ndarray) -> np.ndarray:
    """With a last stage at which everybody leaves; of one group (stages,)."""
    thresholds = thresholds.copy()
    thresholds[-1] = -np.inf
    return thresholds[:, 0] if thresholds.shape[1] == 1 else thresholds
