"""Plans for a counted budget and for an accuracy, against every path."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.runtime.fakes.tables import scores

from anytimenet.core.answers.standing import best_stage
from anytimenet.runtime.planning.counted import plan_to_reach, plan_within


@st.composite
def nets(draw):
    stages = draw(st.integers(1, 5))
    pairs = [(a, b) for a in range(stages) for b in range(a + 1, stages + 1)]
    costs = {pair: draw(st.integers(1, 30)) for pair in pairs if pair[0] == 0 or draw(st.booleans())}
    return costs, draw(scores(stages))


def cheapest(costs, stage):
    """The least that a path to a stage costs."""
    found = []
    for count in range(stage):
        for between in combinations(range(1, stage), count):
            path = list(pairwise((0, *between, stage)))
            if set(path) <= costs.keys():
                found.append(sum(costs[segment] for segment in path))
    return min(found)


def cost(costs, plan):
    return sum(costs[segment] for segment in plan.path)


@examples(100)
@given(nets(), st.integers(0, 100))
def test_a_budget_buys_what_the_standing_rule_says(net, budget):
    costs, validated = net
    least = [cheapest(costs, stage) for stage in range(1, len(validated) + 1)]
    plan = plan_within(costs, validated, budget)
    stage, over = best_stage(least, validated, budget)
    assert plan.fits is not over
    if over:
        assert cost(costs, plan) == min(least)
    else:
        assert validated[plan.stage - 1] == validated[stage - 1]
        assert cost(costs, plan) == least[plan.stage - 1] <= budget


@examples(100)
@given(nets(), st.floats(0, 1))
def test_an_accuracy_costs_the_least_of_the_stages_that_have_it(net, accuracy):
    costs, validated = net
    good = [k for k, score in enumerate(validated, 1) if score is not None and score >= accuracy]
    plan = plan_to_reach(costs, validated, accuracy)
    assert plan.fits is bool(good)
    if good:
        assert validated[plan.stage - 1] >= accuracy
        assert cost(costs, plan) == min(cheapest(costs, stage) for stage in good)


def test_what_stands_is_not_bought_again():
    costs = {(0, 1): 10, (0, 2): 30, (1, 2): 25}
    assert plan_to_reach(costs, (0.7, 0.9), 0.6, start=1).path == ()
    assert plan_to_reach(costs, (0.7, 0.9), 0.8, start=1).path == ((1, 2),)
    assert plan_within(costs, (0.7, 0.9), 24, start=1).path == ()


@pytest.mark.parametrize(
    ("costs", "budget", "error", "words"),
    [
        ({(0, 1): 1}, math.nan, ValueError, "budget"),
        ({(0, 1): -1}, 5, ValueError, "costs"),
        ({(0, 3): 1}, 5, ValueError, "0 <= start < stop <= 2"),
        ({(1, 2): 1}, 5, ValueError, "starts at the input"),
        ([1, 2], 5, TypeError, "costs"),
    ],
)
def test_what_cannot_be_is_refused(costs, budget, error, words):
    with pytest.raises(error, match=words):
        plan_within(costs, (0.7, 0.9), budget)
