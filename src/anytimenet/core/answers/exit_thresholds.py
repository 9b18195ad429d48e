"""At which confidence an example may leave early: thresholds solved on validation data, never swept on test.

The protocol of MSDNet (Huang et al. 2018, section 3 and the authors' code). Confidences are arrays (stages,
examples), higher = surer; see `confidence`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, log

import numpy as np

_HALVINGS = 50
_GRID = 64


def exit_shares(p: float, stages: int) -> np.ndarray:
    """q_k proportional to p^k, summing to 1: the share of examples that is meant to leave at each stage.

    p below 1 favours early stages, above 1 late ones.

    Raises:
        ValueError: unless p is positive and finite, and there is at least one stage.

    >>> exit_shares(0.5, 3).round(4).tolist()
    [0.5714, 0.2857, 0.1429]
    """
    if not (0 < p < float("inf")) or stages < 1:
        raise ValueError(f"exit shares need a finite p above 0 and a stage, not p = {p}, {stages} stages")
    exponents = np.arange(1, stages + 1) * log(p)
    shares: np.ndarray = np.exp(exponents - exponents.max())
    shares /= shares.sum()
    return shares


def solve_thresholds(confidence: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Thresholds T_1..T_K under which `shares` of these examples leave at each stage.

    Stage after stage, among the N examples not yet out: T_k is the confidence of the floor(N q_k)-th surest,
    and every example at least as sure leaves, so that examples of equal confidence leave together. Where that
    number is 0, or more than remain, nobody leaves: T_k = +inf. T_K = -inf: the last stage answers the rest.

    Without ties floor(N q_k) examples leave at each stage k < K. With ties more do, and later stages then may
    find too few.

    Args:
        confidence: (stages, examples), finite.
        shares: q_k, (stages,); they sum to 1.

    Returns:
        (stages,), +inf and -inf among them.

    Raises:
        ValueError: for shapes that do not fit, or confidences that are not finite.

    >>> confidence = np.array([[0.9, 0.8, 0.5, 0.4], [0.2, 0.6, 0.7, 0.3], [0.5, 0.5, 0.5, 0.5]])
    >>> solve_thresholds(confidence, np.array([0.5, 0.25, 0.25])).tolist()
    [0.8, 0.7, -inf]
    """
    confidence, shares = check_confidence(confidence), np.asarray(shares, dtype=np.float64)
    if shares.shape != (len(confidence),) or (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(f"shares {shares} are not one a stage, {len(confidence)} of them, summing to 1")
    # A third of 9 is 3, whatever the last bit of 1 / 3 says.
    quotas = np.floor(confidence.shape[1] * shares + 1e-9).astype(np.int64)
    thresholds = np.full(len(confidence), np.inf)
    thresholds[-1] = -np.inf
    remaining = np.arange(confidence.shape[1])
    for k, quota in enumerate(quotas[:-1]):
        if 0 < quota <= len(remaining):
            sure = confidence[k, remaining]
            place = len(remaining) - quota
            thresholds[k] = np.partition(sure, place)[place]
            remaining = remaining[sure < thresholds[k]]
    return thresholds


def leaving_stages(confidence: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The stage, from 1, at which each example leaves: the first whose confidence reaches its threshold.

    >>> leaving_stages(np.array([[0.9, 0.5], [0.1, 0.2]]), np.array([0.8, -np.inf])).tolist()
    [1, 2]
    """
    stages: np.ndarray = (np.asarray(confidence) >= np.asarray(thresholds)[:, None]).argmax(axis=0) + 1
    return stages


def leaving_shares(confidence: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of the examples that leaves at each stage, (stages,)."""
    stages = leaving_stages(confidence, thresholds)
    return np.bincount(stages - 1, minlength=len(thresholds)) / len(stages)


def solve_for_budget(
    confidence: np.ndarray, stage_costs: Sequence[float] | np.ndarray, budget: float
) -> tuple[float, np.ndarray]:
    """The p, and its thresholds, whose mean cost on these examples is the largest found within `budget`.

    p varies continuously: a grid from "all leave at stage 1" to "all stay to the end", then halvings between
    the best p within the budget and the next beyond it. The mean cost can only take the values that whole
    examples allow, and jumps where many confidences are equal, so it may stay below the budget. On other
    examples it is near the budget, not below it for certain.

    Args:
        confidence: of validation data, (stages, examples).
        stage_costs: cost of an example that leaves at each stage, increasing.
        budget: mean cost an example, in the same unit.

    Raises:
        ValueError: for a budget below the first stage's cost, or costs that do not increase.

    >>> confidence = np.array([[0.9, 0.8, 0.5, 0.4], [0.5, 0.5, 0.5, 0.5]])
    >>> p, thresholds = solve_for_budget(confidence, [10, 20], budget=16)
    >>> thresholds.tolist()  # two leave at once, two go on: 15
    [0.8, -inf]
    """
    confidence = check_confidence(confidence)
    costs = check_costs(stage_costs, len(confidence))
    if any(a >= b for a, b in pairwise(costs)):
        raise ValueError(f"stage costs {costs.tolist()} do not increase: a budget cannot be shared out")
    if not budget >= costs[0]:
        raise ValueError(
            f"a mean budget of {budget:g} pays for no prediction: stage 1 alone costs {costs[0]:g}"
        )

    def solved(exponent: float) -> tuple[float, np.ndarray]:
        thresholds = solve_thresholds(confidence, exit_shares(exp(exponent), len(costs)))
        return float(leaving_shares(confidence, thresholds) @ costs), thresholds

    # At these ends every share but the first, or the last, is less than one example.
    examples = confidence.shape[1]
    grid = np.linspace(log(1e-10 / examples), log(2.0 * examples), _GRID).tolist()
    found = [solved(exponent) for exponent in grid]
    best = max((i for i in range(_GRID) if found[i][0] <= budget), key=lambda i: (found[i][0], i))
    mean_cost, thresholds = found[best]
    exponent = low = grid[best]
    beyond = next((i for i in range(best + 1, _GRID) if found[i][0] > budget), None)
    if beyond is None:
        return exp(exponent), thresholds
    high = grid[beyond]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        tried = solved(middle)
        if tried[0] > budget:
            high = middle
            continue
        low = middle
        if tried[0] > mean_cost:
            exponent, (mean_cost, thresholds) = middle, tried
    return exp(exponent), thresholds


def check_confidence(confidence: np.ndarray) -> np.ndarray:
    """As float64 (stages, examples). Raises ValueError for another shape or numbers that are not finite."""
    confidence = np.asarray(confidence, dtype=np.float64)
    if confidence.ndim != 2 or not confidence.size or not np.isfinite(confidence).all():
        raise ValueError(
            f"finite confidences (stages, examples), at least one of each, are needed, not {confidence.shape}"
        )
    return confidence


def check_costs(stage_costs: Sequence[float] | np.ndarray, stages: int) -> np.ndarray:
    """As float64 (stages,). Raises ValueError unless there is one positive cost a stage."""
    costs = np.asarray(stage_costs, dtype=np.float64)
    if costs.shape != (stages,) or not (np.isfinite(costs) & (costs > 0)).all():
        raise ValueError(f"costs {list(stage_costs)} are not {stages} positive numbers, one a stage")
    return costs
