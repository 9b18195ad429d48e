"""The vectorised budgeted batch equals the published loop, for any confidences, with and without ties."""

from fractions import Fraction
from itertools import pairwise
from math import floor, inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.core.answers.exit_thresholds import (
    exit_shares,
    leaving_shares,
    leaving_stages,
    solve_for_budget,
    solve_thresholds,
)


@st.composite
def confidences(draw, distinct=False):
    """(stages, examples), from few values so that many are equal, or all different."""
    stages, examples = draw(st.integers(1, 5)), draw(st.integers(1, 25))
    if distinct:
        numbers = draw(st.permutations(range(stages * examples)))
    else:
        numbers = draw(st.lists(st.integers(0, 6), min_size=stages * examples, max_size=stages * examples))
    return np.array(numbers, dtype=np.float64).reshape(stages, examples) / 7


ps = st.fractions(Fraction(1, 20), Fraction(39, 20), max_denominator=20)


def published(confidence: np.ndarray, p: Fraction) -> tuple[list[float], list[int]]:
    """The protocol word for word, example by example, with shares in exact fractions."""
    stages, examples = confidence.shape
    powers = [p**k for k in range(1, stages + 1)]
    thresholds, stage_of = [], [0] * examples
    for k in range(stages - 1):
        wanted = floor(examples * powers[k] / sum(powers))
        order = sorted(range(examples), key=lambda i: -confidence[k][i])
        threshold, counted = inf, 0
        for i in order:
            if stage_of[i]:
                continue
            counted += 1
            if counted == wanted:
                threshold = confidence[k][i]
                break
        thresholds.append(float(threshold))
        for i in range(examples):
            if not stage_of[i] and confidence[k][i] >= threshold:
                stage_of[i] = k + 1
    return [*thresholds, -inf], [stage or stages for stage in stage_of]


@given(confidences(), ps)
def test_thresholds_and_leaving_stages_are_those_of_the_published_loop(confidence, p):
    thresholds, leaving = published(confidence, p)
    ours = solve_thresholds(confidence, exit_shares(float(p), len(confidence)))
    assert ours.tolist() == thresholds
    assert leaving_stages(confidence, ours).tolist() == leaving


@given(confidences(distinct=True), st.lists(st.floats(0.01, 50), min_size=2, max_size=6), st.data())
def test_mean_cost_rises_with_p_but_for_whole_examples(confidence, unsorted, data):
    stages, examples = confidence.shape
    steps = data.draw(st.lists(st.floats(0.1, 10), min_size=stages, max_size=stages))
    costs = np.cumsum(steps)
    # By rounding down, up to k examples that should have left by stage k are still in.
    slack = sum(k * step for k, step in enumerate(steps)) / examples
    exact = [exit_shares(p, stages) @ costs for p in sorted(unsorted)]
    found = [
        leaving_shares(confidence, solve_thresholds(confidence, exit_shares(p, stages))) @ costs
        for p in sorted(unsorted)
    ]
    assert all(a <= b + 1e-9 for a, b in pairwise(exact))
    assert all(e - 1e-6 <= f <= e + slack + 1e-6 for e, f in zip(exact, found, strict=True))
    assert all(a <= b + slack + 1e-6 for a, b in pairwise(found))


@given(confidences(), st.floats(1, 40), st.data())
def test_a_solved_budget_is_never_exceeded_where_it_was_solved(confidence, budget, data):
    costs = np.cumsum(
        data.draw(st.lists(st.integers(1, 9), min_size=len(confidence), max_size=len(confidence)))
    )
    if budget < costs[0]:
        with pytest.raises(ValueError, match="pays for no prediction"):
            solve_for_budget(confidence, costs, budget)
        return
    p, thresholds = solve_for_budget(confidence, costs, budget)
    assert p > 0
    assert thresholds[-1] == -inf
    assert leaving_shares(confidence, thresholds) @ costs <= budget
    if budget >= costs[-1]:
        assert leaving_stages(confidence, thresholds).tolist() == [len(costs)] * confidence.shape[1]
