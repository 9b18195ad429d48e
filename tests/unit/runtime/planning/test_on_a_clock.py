"""Runs that ask the planner before each segment, on a clock that moves only while segments run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.runtime.fakes.clock import FakeClock
from tests.unit.runtime.fakes.tables import in_proportion, scores, spread, table_of, tables

from anytimenet.runtime.planning.plan_table import PlanTable
from anytimenet.runtime.planning.planner import Planner
from anytimenet.runtime.planning.slowdown import Slowdown

RISING = (0.6, 0.7, 0.8, 0.85)


class Run:
    """One run under a deadline, planned again after each segment, as a predictor does it."""

    def __init__(
        self,
        planner: Planner | PlanTable,
        actual_ms: Callable[[int, int], float],
        deadline_ms: float,
        clock: FakeClock | None = None,
    ) -> None:
        clock = clock or FakeClock()
        begun, stage = clock(), 0
        self.path: list[tuple[int, int]] = []
        self.began_at: list[float] = []
        while (plan := planner.plan(deadline_ms - 1000 * (clock() - begun), stage)).path:
            start, stop = plan.path[0]
            before = clock()
            self.began_at.append(1000 * (before - begun))
            clock.advance(actual_ms(start, stop) / 1000)
            planner.observe(start, stop, 1000 * (clock() - before))
            self.path.append((start, stop))
            stage = stop
        self.elapsed_ms = 1000 * (clock() - begun)


def at_rest() -> Slowdown:
    return Slowdown(variance=0.0, least_noise=1e-12)


@examples(80)
@given(data=st.data(), table=tables(4), deadline=st.floats(-5, 60), kept=st.booleans())
def test_no_segment_is_begun_after_the_deadline_while_an_answer_stands(data, table, deadline, kept):
    """So a run is late by no more than one segment, whatever the machine does."""
    validated = data.draw(scores(table.num_stages))
    planner = Planner(table, validated)
    slow = data.draw(st.lists(st.floats(0.1, 50), min_size=4, max_size=4))
    times = iter(slow)
    run = Run(
        PlanTable(planner) if kept else planner,
        lambda a, b: table.entries[a, b, 1].median_ms * next(times),
        deadline,
    )
    assert run.path  # there is an answer
    assert all(began < deadline for began in run.began_at[1:])


@examples(80)
@given(table=tables(4), deadline=st.floats(0.1, 80), shares=st.lists(st.floats(0.5, 1), min_size=4))
def test_on_a_machine_that_keeps_its_table_a_run_is_late_only_where_nothing_fits(table, deadline, shares):
    planner = Planner(table, [0.1 * k for k in range(1, table.num_stages + 1)], slowdown=at_rest())
    fits = planner.plan(deadline).fits
    taken = iter(shares)

    def segment(start: int, stop: int) -> float:
        latency = table.entries[start, stop, 1]  # of which the net's own part is up to 30 %
        return float(min(latency.p99_ms, 1.3 * latency.median_ms) * next(taken, 1.0))

    run = Run(planner, segment, deadline)
    if fits and len(run.path) == 1:
        assert run.elapsed_ms <= deadline * (1 + 1e-9)


def test_a_run_that_is_slowed_down_on_the_way_stops_before_it_overruns():
    steps = {(0, 1): spread(1.0), (1, 2): spread(1.0), (2, 3): spread(1.0), (3, 4): spread(1.0)}
    planner = Planner(table_of(steps), RISING)
    assert Run(planner, lambda a, b: 1.0, 5.3).path == [(0, 1), (1, 2), (2, 3), (3, 4)]
    slowed = Run(planner, lambda a, b: 1.0 if a == 0 else 3.0, 5.3)
    assert slowed.path == [(0, 1), (1, 2)]
    assert slowed.elapsed_ms == pytest.approx(4.0)  # by the table alone a third step fits


def test_a_run_that_is_quicker_than_planned_uses_what_it_saves():
    planner = Planner(in_proportion(4), RISING, slowdown=at_rest())
    assert planner.plan(4.4).path == ((0, 3),)
    assert Run(planner, lambda a, b: 0.95 * (b - a), 4.4).path == [(0, 3), (3, 4)]


def test_a_clock_that_is_set_back_or_forward_gives_an_answer_and_is_not_learnt_from():
    for jump in (-3600.0, 3600.0):
        clock = FakeClock()
        planner = Planner(in_proportion(4), RISING)
        before = planner.slowdown.estimate

        def segment(start: int, stop: int, clock: FakeClock = clock, jump: float = jump) -> float:
            clock.now += jump if start == 0 else 0.0
            return 1.0

        run = Run(planner, segment, 3.0, clock)
        assert run.path[0] == (0, 2)
        if jump < 0:
            assert run.path[-1][1] == 4  # there seems to be an hour left
            assert planner.slowdown.mean < before.mean  # of the later segments, which were quick
        else:
            assert run.path == [(0, 2)]
            assert planner.slowdown.mean <= 10 * before.mean


def test_under_a_load_that_comes_and_goes_deadlines_are_kept_and_stages_follow_it():
    planner = PlanTable(Planner(in_proportion(4), RISING))
    stages, late = [], 0
    for number in range(120):
        factor = 3.0 if 40 <= number < 80 else 1.0
        run = Run(planner, lambda a, b, factor=factor: factor * (b - a + 0.2), 6.0)
        stages.append(run.path[-1][1])
        late += run.elapsed_ms > 6.0
    assert set(stages[20:40]) == {4}
    assert set(stages[50:80]) == {1}
    assert set(stages[100:]) == {4}
    assert late <= 3  # until it notices
