"""The table of plans: what the planner would say, never more optimistic, and made once."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.runtime.fakes.tables import in_proportion, scores, tables

from anytimenet.runtime.planning import plan_table
from anytimenet.runtime.planning.latencies import chance_within
from anytimenet.runtime.planning.plan_table import PlanTable, rounded_down
from anytimenet.runtime.planning.planner import Planner
from anytimenet.runtime.planning.slowdown import estimate_of

RISING = (0.6, 0.7, 0.8, 0.85)


@examples(60)
@given(data=st.data(), table=tables(4), variant=st.sampled_from(("mean", "p95", "slowdown", "alert")))
def test_it_gives_what_the_planner_gives_for_the_bin_and_the_rounded_time(data, table, variant):
    stages = table.num_stages
    validated = data.draw(scores(stages))
    plans = PlanTable(Planner(table, validated, variant=variant))
    fresh = Planner(table, validated, variant=variant, slowdown=plans.slowdown)
    for _ in range(data.draw(st.integers(1, 6))):
        if data.draw(st.booleans()):
            plans.observe(0, stages, data.draw(st.floats(0.01, 100)))
        remaining = data.draw(st.floats(-1, 100))
        start = data.draw(st.integers(0, stages))
        standing = data.draw(st.sampled_from((None, stages)))
        upper = estimate_of(plans.slowdown.bin)
        plan = plans.plan(remaining, start, standing)
        assert plan == fresh.plan_at(upper, rounded_down(remaining), start, standing)
        assert plan == plans.plan(remaining, start, standing)
        if plan.path and plan.fits:  # in time by the planner's own reckoning, too
            ways = fresh.times_at(plans.slowdown.estimate)
            times = [dict(ways[a])[b] for a, b in plan.path]
            together = tuple(map(sum, zip(*times, strict=True)))
            assert chance_within(together, remaining) >= 0.99 - 1e-9


@given(st.floats(1e-3, 1e9))
def test_a_time_is_rounded_down_by_at_most_a_hundredth(remaining):
    assert remaining / 1.0100001 <= rounded_down(remaining) <= remaining
    assert rounded_down(rounded_down(remaining)) <= rounded_down(remaining)


def test_a_plan_is_made_once_and_again_only_when_the_slowdown_leaves_its_bin(monkeypatch):
    planner = Planner(in_proportion(4), RISING)
    made = []
    plan_at = planner.plan_at
    monkeypatch.setattr(planner, "plan_at", lambda *given: made.append(given) or plan_at(*given))
    plans = PlanTable(planner)
    for _ in range(50):
        plans.observe(0, 1, 1.2)
    for _ in range(20):
        plans.plan(4.0)
        plans.observe(0, 1, 1.2)
    assert len(made) == 1
    for _ in range(20):
        plans.observe(0, 1, 2.4)
    plans.plan(4.0)
    assert len(made) == 2
    for _ in range(50):
        plans.observe(0, 1, 1.2)
    plans.plan(4.0)  # back in the first bin, or the next one to it
    assert len(made) <= 3


def test_it_forgets_before_it_grows_without_end(monkeypatch):
    monkeypatch.setattr(plan_table, "_MOST_CELLS", 5)
    monkeypatch.setattr(plan_table, "_MOST_BINS", 3)
    plans = PlanTable(Planner(in_proportion(4), RISING))
    for slowdown in (1, 2, 3, 4, 5, 6):
        for _ in range(3):
            plans.observe(0, 1, 1.2 * slowdown)
        for remaining in range(1, 30):
            plans.plan(remaining)
    assert len(plans._bins) <= 3
    assert all(len(cells) <= 5 for cells in plans._bins.values())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((math.nan,), ValueError),
        (("5",), TypeError),
        ((True,), TypeError),
        ((5.0, 9), ValueError),
        ((5.0, 1.0), TypeError),
        ((5.0, 0, 0), ValueError),
    ],
)
def test_questions_that_cannot_be_are_refused_asked_twice_too(arguments, error):
    plans = PlanTable(Planner(in_proportion(4), RISING))
    plans.plan(5.0, 1)
    for _ in range(2):
        with pytest.raises(error):
            plans.plan(*arguments)


def test_deadlines_without_end_and_without_time():
    plans = PlanTable(Planner(in_proportion(4), RISING))
    assert plans.plan(math.inf).path == ((0, 4),)
    assert not plans.plan(-math.inf).fits
    assert not plans.plan(0).fits


def test_an_oracle_has_no_table():
    with pytest.raises(ValueError, match="oracle"):
        PlanTable(Planner(in_proportion(4), RISING, variant="oracle", actual=lambda a, b: 1.0))


def test_threads_that_ask_and_observe_get_plans_of_one_slowdown_each():
    """Every plan that is kept is that of its own bin, however the threads came between each other."""
    plans = PlanTable(Planner(in_proportion(4), RISING))
    fresh = Planner(in_proportion(4), RISING)

    def ask(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(300):
            plans.observe(0, 1, float(rng.choice([1.2, 2.4, 4.8])))
            plans.plan(float(rng.uniform(1, 8)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))
    for key, cells in plans._bins.items():
        for (remaining, start, standing), plan in list(cells.items())[:5]:
            assert plan == fresh.plan_at(estimate_of(key), remaining, start, standing)
