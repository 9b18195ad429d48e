"""The rules of the planner, one by one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.unit.runtime.fakes.tables import in_proportion, spread, table_of

from anytimenet.core.errors import CostTableError
from anytimenet.core.manifest.cost_table import Latency
from anytimenet.runtime.planning.planner import VARIANTS, Planner
from anytimenet.runtime.planning.slowdown import Slowdown

RISING = (0.6, 0.7, 0.8, 0.85)
INSURED = ((0, 1), (0, 2), (1, 2))


def at_rest() -> Slowdown:
    """A machine that is for certain as fast as it was when the table was measured."""
    return Slowdown(variance=0.0, least_noise=0.0)


def test_one_jump_when_the_budget_is_sure():
    assert Planner(in_proportion(4), RISING).plan(1000).path == ((0, 4),)
    assert Planner(in_proportion(4), RISING).plan(math.inf).path == ((0, 4),)


def test_finer_steps_when_the_budget_may_be_cut_short():
    plan = Planner(in_proportion(4), RISING, cut=0.5).plan(20)
    assert plan.path[0] == (0, 1)
    assert plan.path[-1][1] == 4


def test_an_insurance_stage_first_where_a_net_cannot_resume_and_it_pays():
    table = table_of({(0, 1): 1.0, (0, 2): 9.0})
    sure = Planner(table, (0.6, 0.9), resumes=False, segments=INSURED, slowdown=at_rest())
    assert sure.segments == INSURED
    assert sure.plan(11).path == ((0, 2),)
    unsure = Planner(table, (0.6, 0.9), resumes=False, segments=INSURED, slowdown=at_rest(), cut=0.1)
    assert unsure.plan(11).path == ((0, 1), (1, 2))
    assert unsure.plan(9.5).path == ((0, 2),)  # both do not fit


def test_it_stops_before_a_segment_that_would_probably_overrun():
    planner = Planner(in_proportion(4), RISING, slowdown=at_rest())
    assert planner.plan(1.0, start=2).path == ()
    assert planner.plan(1.0, start=2).stage == 2
    assert planner.plan(1.5, start=2).path == ((2, 3),)


def test_where_nothing_fits_the_cheapest_answer_is_planned_and_said_to_be_late():
    table = table_of({(0, 1): 3.0, (0, 2): 2.0, (0, 3): 5.0})  # stage 2 is cheaper than stage 1
    for remaining in (1.9, 0, -5, -math.inf):
        plan = Planner(table, RISING[:3], slowdown=at_rest()).plan(remaining)
        assert (plan.path, plan.stage, plan.fits, plan.late) == (((0, 2),), 2, False, 1.0)
        assert plan.expected == 0


def test_nothing_is_planned_where_an_answer_stands_and_nothing_better_fits():
    planner = Planner(in_proportion(4), RISING)
    assert planner.plan(0, start=1).path == ()
    assert planner.plan(100, start=4).path == ()
    assert planner.plan(100, start=0, standing=4).path == ()
    assert planner.plan(0, start=0, standing=2).stage == 2


def test_a_stage_that_is_worth_less_than_what_stands_gains_nothing():
    falling = (0.6, 0.9, 0.8)
    table = in_proportion(3)
    assert Planner(table, falling).plan(100).path == ((0, 2),)
    assert Planner(table, falling).plan(100, start=1).path == ((1, 2),)
    assert Planner(table, falling).plan(100, start=2).path == ()
    # From stage 2 on, with a lesser answer standing, the state goes on to the best that is left.
    assert Planner(table, falling).plan(100, start=2, standing=1).path == ((2, 3),)


def test_of_equally_good_stages_the_cheaper_is_planned():
    assert Planner(in_proportion(3), (0.6, 0.9, 0.9)).plan(100).path == ((0, 2),)


def test_without_validation_later_is_better():
    planner = Planner(in_proportion(3), (None, None, None), slowdown=at_rest())
    assert planner.plan(100).stage == 3
    assert planner.plan(2.5).stage == 2


def test_a_stage_that_was_not_validated_is_not_planned_beside_validated_ones():
    assert Planner(in_proportion(3), (0.6, None, None)).plan(100).path == ((0, 1),)
    assert Planner(in_proportion(3), (0.6, 0.8, math.nan)).plan(100).path == ((0, 2),)


def test_only_segments_that_are_ready_are_planned():
    planner = Planner(in_proportion(3), RISING[:3], segments=[(0, 1), (1, 2), (2, 3)])
    assert planner.plan(100).path == ((0, 1), (1, 2), (2, 3))


def test_the_variants_read_what_they_are_named_after():
    table = table_of({(0, 1): 1.0, (0, 2): Latency(5.0, 5.5, 6.0, repeats=50)})
    slow = [Slowdown(2.0, 0.0, least_noise=0.0) for _ in VARIANTS]
    fits_at = {"mean": 5.0, "p95": 5.5, "slowdown": 11.0, "alert": 12.0}
    for slowdown, (variant, least) in zip(slow, fits_at.items(), strict=False):
        planner = Planner(table, (0.6, 0.9), variant=variant, slowdown=slowdown)
        assert planner.plan(least + 1e-6).stage == 2, variant
        assert planner.plan(least - 1e-6).stage == 1, variant


def test_a_slower_machine_gets_a_shorter_plan_and_a_recovered_one_the_old():
    planner = Planner(in_proportion(4), RISING)
    assert planner.plan(6).stage == 4
    for _ in range(10):
        planner.observe(0, 4, 4.2 * 3)
    assert planner.plan(6).stage == 1
    for _ in range(30):
        planner.observe(0, 1, 1.2)
    assert planner.plan(6).stage == 4


def test_medians_and_quickest_runs_are_not_compared_with_each_other():
    busy = {
        (0, 1): Latency(0.8, 9.0, 10.0, repeats=50, low_ms=0.6),
        (0, 2): Latency(1.1, 11.0, 16.0, repeats=50, low_ms=0.7, unstable=True),
    }
    assert Planner(table_of(busy), RISING[:2]).plan(0).path == ((0, 1),)  # though 0.7 is below 0.8


def test_a_table_that_was_measured_beside_other_work_is_read_for_what_the_net_takes():
    busy = {
        (0, 1): Latency(1.0, 9.0, 17.0, repeats=50, low_ms=1.0),
        (0, 2): Latency(12.0, 18.0, 20.0, repeats=50, low_ms=4.0, unstable=True),
    }
    planner = Planner(table_of(busy), RISING[:2], slowdown=at_rest())
    assert planner.plan(5.3).stage == 2  # 4 ms and 30 %
    assert planner.plan(5.1).stage == 1
    planner = Planner(table_of(busy), RISING[:2])
    for _ in range(50):
        planner.observe(0, 2, 12.0)  # three times what it takes at rest
    assert planner.slowdown.mean == pytest.approx(3.0, rel=0.05)
    assert Planner(table_of(busy), RISING[:2], variant="p95").plan(17.9).stage == 1


def test_what_is_unknown_or_estimated_teaches_nothing():
    entries = {(0, 1): spread(1.0), (0, 2): replace(spread(2.0), estimated=True, repeats=0)}
    planner = Planner(table_of(entries), RISING[:2])
    before = planner.slowdown.estimate
    planner.observe(0, 2, 100.0)
    planner.observe(1, 2, 100.0)
    planner.observe(0, 1, math.nan)
    assert planner.slowdown.estimate == before
    estimates = {key: replace(each, estimated=True, repeats=0) for key, each in entries.items()}
    planner = Planner(table_of(estimates), RISING[:2])  # better than nothing, where there is nothing else
    planner.observe(0, 2, 100.0)
    assert planner.slowdown.mean > 1


def test_a_table_for_batches_is_read_at_the_batch_of_the_run():
    table = table_of({(0, 1): 1.0, (0, 2): 3.0})
    entries = {**table.entries, (0, 1, 8): Latency(8, 8, 8, 50), (0, 2, 8): Latency(24, 24, 24, 50)}
    assert Planner(replace(table, entries=entries), (0.6, 0.9), batch=8).plan(20).stage == 1
    with pytest.raises(CostTableError, match="profile that batch size"):
        Planner(table, (0.6, 0.9), batch=2)
    entries[1, 2, 1] = Latency(2, 2, 2, 50)  # measured alone, which stops no batch
    assert Planner(replace(table, entries=entries), (0.6, 0.9), batch=8).segments == ((0, 1), (0, 2))
    assert len(Planner(replace(table, entries=entries), (0.6, 0.9)).segments) == 3


def test_a_risk_that_is_accepted_is_taken():
    table = table_of({(0, 1): 1.0, (0, 2): Latency(5.0, 5.5, 6.0, repeats=50)})
    assert Planner(table, (0.6, 0.9), slowdown=at_rest(), late=0.05).plan(5.5).stage == 2
    assert Planner(table, (0.6, 0.9), slowdown=at_rest(), late=0.04).plan(5.5).stage == 1


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"validated": (0.6, 0.9, 0.95)}, CostTableError, "profile this net"),
        ({"segments": [(1, 2)]}, CostTableError, "no segment from the input"),
        ({"segments": [(0, 3)]}, ValueError, "0 <= start < stop <= 2"),
        ({"segments": [(1, 1)]}, ValueError, "0 <= start < stop <= 2"),
        ({"variant": "average"}, ValueError, "variant"),
        ({"variant": "oracle"}, ValueError, "actual"),
        ({"actual": lambda a, b: 1.0}, ValueError, "actual"),
        ({"late": 1.5}, ValueError, "late"),
        ({"cut": -0.1}, ValueError, "cut"),
        ({"table": "cpu"}, TypeError, "table"),
        ({"resumes": 1}, TypeError, "resumes"),
    ],
)
def test_arguments_that_cannot_be_are_refused(arguments, error, words):
    given = {"table": table_of({(0, 1): 1.0, (0, 2): 2.0, (1, 2): 1.0}), "validated": (0.6, 0.9), **arguments}
    with pytest.raises(error, match=words):
        Planner(**given)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((math.nan,), ValueError),
        (("5",), TypeError),
        ((5, 9), ValueError),
        ((5, -1), ValueError),
        ((5, 0, 0), ValueError),
        ((5, 0, 9), ValueError),
        ((True,), TypeError),
    ],
)
def test_questions_that_cannot_be_are_refused(arguments, error):
    with pytest.raises(error):
        Planner(in_proportion(4), RISING).plan(*arguments)
