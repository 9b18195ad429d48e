"""The search over labels finds what trying every path finds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.runtime.fakes.tables import scores, table_of, tables

from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.runtime.planning.objective import stage_values
from anytimenet.runtime.planning.planner import VARIANTS, Planner
from anytimenet.runtime.planning.slowdown import Estimate

SCORES = [NormalDist().inv_cdf(p) for p in (0.1, 0.5, 0.95, 0.99)] + [5.0]


def every_path(segments: Sequence[tuple[int, int]], start: int, last: int) -> Iterator[list[tuple[int, int]]]:
    for count in range(last - start + 1):
        for stops in combinations(range(start + 1, last + 1), count):
            path = list(pairwise((start, *stops)))
            if set(path) <= set(segments):
                yield path


def quantiles(table: CostTable, segment: tuple[int, int], variant: str, slowdown: Estimate) -> np.ndarray:
    """The same as the planner's, in other words."""
    latency = table.entries[(*segment, 1)]
    if variant != "alert":
        time = {"mean": latency.median_ms, "p95": latency.p95_ms}.get(variant, latency.p95_ms * slowdown.mean)
        return np.full(5, time)
    known = [latency.median_ms if latency.low_ms is None else latency.low_ms, latency.median_ms]
    known += [min(time, 1.3 * latency.median_ms) for time in (latency.p95_ms, latency.p99_ms)]
    slope = (known[3] - known[2]) / (SCORES[3] - SCORES[2])
    known.append(known[3] + slope * (SCORES[4] - SCORES[3]))
    own = slowdown.mean * (np.array(known) - latency.median_ms)
    machine = slowdown.deviation * latency.median_ms * np.array(SCORES)
    waits = np.array(SCORES) ** 2 * slowdown.waiting * latency.median_ms
    around = np.sign(SCORES) * np.sqrt(own**2 + machine**2 + waits)
    return np.maximum(slowdown.mean * latency.median_ms + around, 0)


def chance(times: np.ndarray, budget: float) -> float:
    if budget < times[0]:
        return 0.0
    if budget >= times[-1]:
        return 1.0
    # Of equal times the last one counts.
    low = int(np.searchsorted(times, budget, side="right")) - 1
    score = np.interp(budget, times[low : low + 2], SCORES[low : low + 2])
    return NormalDist().cdf(float(score))


def worth(parts: list[tuple[float, np.ndarray]], budget: float, floor: float, cut: float) -> float:
    """q_0 + sum (q_k - q_{k-1}) Pr[t_k <= T] over the stages that are better than all before them."""
    better = [(floor, np.zeros(5))]
    for value, times in parts:
        if value > better[-1][0]:
            better.append((value, times))
    total = floor
    for (before, _), (value, times) in pairwise(better):
        in_time = chance(times, budget)
        uncut = min(in_time, max(0.0, 1 - float(times[1]) / budget)) if budget > 0 else 0.0
        total += (value - before) * ((1 - cut) * in_time + cut * uncut)
    return total


@examples(60)
@given(data=st.data(), table=tables(), variant=st.sampled_from([v for v in VARIANTS if v != "oracle"]))
def test_no_path_is_better_than_the_planned_one(data, table, variant):
    stages = table.num_stages
    validated = data.draw(scores(stages))
    late = data.draw(st.sampled_from((0.01, 0.2, 1.0)))
    cut = data.draw(st.sampled_from((0.0, 0.3, 1.0)))
    slowdown = Estimate(*(data.draw(st.floats(*bounds)) for bounds in ((0.3, 4), (0, 1), (0, 9))))
    start = data.draw(st.integers(0, stages))
    standing = data.draw(st.sampled_from((None, *range(1, stages + 1))))
    segments = [(a, b) for a, b, _ in table.entries]
    total = sum(entry.median_ms for entry in table.entries.values())
    budget = data.draw(st.floats(0, 1)) * total * slowdown.mean
    planner = Planner(table, validated, variant=variant, late=late, cut=cut)

    plan = planner.plan_at(slowdown, budget, start, standing)

    values = stage_values(validated)
    stands = standing or start
    floor = values[stands - 1] if stands else min(0.0, *values)
    found = []
    for path in every_path(segments, start, stages):
        times = np.cumsum([quantiles(table, segment, variant, slowdown) for segment in path], axis=0)
        if path and chance(times[-1], budget) < 1 - late - 1e-12:
            continue
        if path or stands:
            parts = [(values[stop - 1], time) for (_, stop), time in zip(path, times, strict=True)]
            median = times[-1][1] if path else 0.0
            found.append((worth(parts, budget, floor, cut), median, tuple(path)))
    if not found:
        cheapest = min((quantiles(table, (a, b), variant, slowdown)[1], b) for a, b in segments if a == 0)
        assert plan.path == ((0, cheapest[1]),)
        assert not plan.fits
        return
    best = max(value for value, _, _ in found)
    assert plan.expected == pytest.approx(best, abs=1e-9)
    quickest = min(median for value, median, _ in found if value >= best - 1e-9)
    mine = next(median for value, median, path in found if path == plan.path)
    assert mine == pytest.approx(quickest, rel=1e-9, abs=1e-9)


@examples(25)
@given(table=tables(4), data=st.data())
def test_an_oracle_plans_with_the_times_it_is_told(table, data):
    actual = {(a, b): data.draw(st.floats(0.1, 9)) for a, b, _ in table.entries}
    validated = [0.5 + 0.1 * k for k in range(table.num_stages)]
    planner = Planner(table, validated, variant="oracle", actual=lambda a, b: actual[a, b])
    budget = data.draw(st.floats(0, 20))
    plan = planner.plan(budget)
    in_time = [
        (validated[path[-1][1] - 1], path)
        for path in every_path(list(actual), 0, table.num_stages)
        if path and sum(actual[segment] for segment in path) <= budget
    ]
    if in_time:
        assert plan.expected == pytest.approx(max(value for value, _ in in_time))
        assert sum(actual[segment] for segment in plan.path) <= budget
    else:
        assert not plan.fits
        assert actual[plan.path[0]] == min(time for (a, _), time in actual.items() if a == 0)


def test_a_path_that_is_ahead_now_does_not_hide_one_with_more_to_gain():
    """By way of stage 2 stage 3 is reached sooner; by way of stage 1, stage 4 adds more to it."""
    table = table_of(
        {
            (0, 1): 0.1,
            (0, 2): Latency(9.5, 12.0, 12.3, repeats=50),
            (1, 3): Latency(9.7, 12.3, 12.6, repeats=50),
            (2, 3): 0.01,
            (3, 4): 0.01,
        }
    )
    validated = (0.5, 0.9, 0.6, 0.95)
    steady = Estimate(1.0, 0.0)
    planner = Planner(table, validated, late=1.0)
    assert planner.plan_at(steady, 10).path == ((0, 1), (1, 3), (3, 4))
    assert Planner(table, (*validated[:3], 0.6), late=1.0).plan_at(steady, 10).path == ((0, 2),)
