"""What a path is worth before it is run: its expected accuracy under a deadline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from anytimenet.core import checks
from anytimenet.core.answers.standing import Validated
from anytimenet.runtime.planning.latencies import MEDIAN, Times, chance_within


def stage_values(
    validated: Validated, counted: Sequence[float] | None = None, *, chance: float = 0.0
) -> tuple[float, ...]:
    """What the answer of each stage is worth to a planner, in the order of `core.answers.standing`.

    The validated score where every stage has one. A stage without one, where others have one, gains nothing
    over no answer: it never stands beside a validated one. Where no stage has one, later is better, and the
    share of the counted work stands for the accuracy that is not known: such values order plans, and are no
    accuracies.

    Args:
        validated: of stages 1..K, higher is better; None for a stage that was not validated. NaN counts as
            None.
        counted: multiply-adds of sub-networks 1..K; without them stage k counts as k of K.
        chance: score of a guess, 1 over the number of classes.

    Raises:
        TypeError, ValueError: for values that are no numbers, or another number of counts.

    >>> stage_values((0.6, None, 0.9)), stage_values((None, None)), stage_values((None, None), (10, 40))
    ((0.6, 0.0, 0.9), (0.5, 1.0), (0.25, 1.0))
    """
    scores = [_score(value) for value in checks.several(validated, "validated")]
    if not scores:
        raise ValueError("validated has no stage: one score each, or None, is needed")
    known = [score for score in scores if score is not None]
    if known:
        # No better than a guess, and worse than the worst that is known: that one stands beside it.
        floor = min(chance, min(known) - _LEAST_GAIN)
        return tuple(floor if score is None else score for score in scores)
    work = range(1, len(scores) + 1) if counted is None else checks.numbers(counted, "counted", 0)
    if len(work) != len(scores):
        raise ValueError(f"{len(work)} counts for {len(scores)} stages: one each is needed")
    return _rising([count / (max(work) or 1) for count in work])


def expected_accuracy(
    path: Iterable[tuple[float, Times]], budget_ms: float, *, floor: float = 0.0, cut: float = 0.0
) -> float:
    """q_0 + sum over the stages of a path of (q_k - q_{k-1}) Pr[t_k <= T], as ALERT counts an anytime net.

    A stage gains over the best finished before it: one that is worth less gains nothing.

    Args:
        path: of each segment, what its stage is worth and the distribution of the time until it is finished.
        budget_ms: T.
        floor: q_0: what stands already, or a guess.
        cut: the probability that the budget ends before T; see `survival`.

    >>> from anytimenet.runtime.planning.latencies import certain
    >>> round(expected_accuracy([(0.6, certain(2)), (0.5, certain(4)), (0.9, certain(9))], 8), 3)
    0.6
    """
    value, best = floor, floor
    for worth, times in path:
        if worth > best:
            value += (worth - best) * survival(times, budget_ms, cut)
            best = worth
    return value


def survival(times: Times, budget_ms: float, cut: float = 0.0) -> float:
    """The probability that work is finished before the budget ends.

    A budget that may be cut ends at T with probability 1 - cut, and else at a moment that is equally likely
    anywhere before T; against that moment the work counts with its median.

    >>> from anytimenet.runtime.planning.latencies import certain
    >>> survival(certain(2), 8), survival(certain(2), 8, cut=1), survival(certain(9), 8)
    (1.0, 0.75, 0.0)
    """
    chance = chance_within(times, budget_ms)
    if not cut or not chance:
        return chance
    uncut = max(0.0, 1.0 - times[MEDIAN] / budget_ms) if budget_ms > 0 else 0.0
    return (1 - cut) * chance + cut * min(chance, uncut)


_LEAST_GAIN = 1e-6


def _score(value: object) -> float | None:
    if value is None or value != value:
        return None
    return float(checks.number(value, "validated"))


def _rising(values: Sequence[float]) -> tuple[float, ...]:
    """With every value above those before it: of stages that were not validated the last stands."""
    found: list[float] = []
    for value in values:
        found.append(value if not found else max(value, math.nextafter(found[-1], math.inf)))
    return tuple(found)
