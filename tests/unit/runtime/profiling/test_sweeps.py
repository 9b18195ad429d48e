"""Sweeps on a fake clock: who was late, who was late while running, and how long it goes on."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
from tests.unit.runtime.fakes.clock import FakeClock
from tests.unit.runtime.fakes.toy import SHAPE, VALIDATED, toy_images, toy_model

from anytimenet.core.answers.prediction import Prediction
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.latency import Latency
from anytimenet.runtime import Predictor, profile_backend
from anytimenet.runtime.profiling.sweeps import (
    Bench,
    DeadlinePoint,
    batch_points,
    deadlines_of,
    sweep_deadlines,
)
from anytimenet.workflows.benching import bench_csv


def answering(
    clock: FakeClock, took_ms: Sequence[float], stages: Sequence[int]
) -> Callable[[float], Prediction]:
    """Answers that take these times and are of these stages, again and again."""
    asked = 0

    def predict(deadline_ms: float) -> Prediction:
        nonlocal asked
        ms, stage = took_ms[asked % len(took_ms)], stages[asked % len(stages)]
        asked += 1
        clock.advance(ms / 1000)
        return Prediction(("a",), (np.array([1.0]),), stage, ms, 9, late=ms > deadline_ms)

    return predict


def test_shares_scores_and_quantiles_are_those_of_the_answers() -> None:
    clock = FakeClock()
    predict = answering(clock, (1.0, 2.0, 3.0, 10.0), (1, 2, 2, 2))
    (point,) = sweep_deadlines(predict, [5], (0.6, 0.8), calls=40, clock=clock, cpu_clock=clock)
    assert replace(point, accuracy=None) == DeadlinePoint(
        5.0, 40, 0.25, 0.25, 2.5, 10.0, (0.25, 0.75), 1.75, None
    )
    assert point.accuracy == pytest.approx(0.75)


def test_late_because_the_system_was_elsewhere_is_told_apart() -> None:
    """Every call takes 4 ms of the wall. In every second one the thread had the processor for 1 ms."""
    clock, cpu = FakeClock(), FakeClock()
    given = cycle([0.004, 0.001])

    def predict(deadline_ms: float) -> Prediction:
        clock.advance(0.004)
        cpu.advance(next(given))
        return Prediction(("a",), (np.array([1.0]),), 1, 4.0, 9, late=deadline_ms < 4)

    points = sweep_deadlines(predict, [2, 0.5], (None,), calls=50, clock=clock, cpu_clock=cpu)
    assert [point.late for point in points] == [1.0, 1.0]
    # Deadlines take turns: that of 2 ms has the calls that ran all the while, that of 0.5 ms the others.
    assert [point.late_running for point in points] == [1.0, 1.0]
    points = sweep_deadlines(predict, [2, 2], (None,), calls=50, clock=clock, cpu_clock=cpu)
    assert [point.late_running for point in points] == [1.0, 0.0]
    assert points[0].accuracy is None
    (unknown,) = sweep_deadlines(predict, [2], (None,), calls=1, clock=clock, cpu_clock=None)
    assert (unknown.late, unknown.late_running) == (1.0, None)


def test_it_ends_with_the_time_and_after_twenty_calls_at_least() -> None:
    clock = FakeClock()
    predict = answering(clock, (1000.0,), (1,))
    assert sweep_deadlines(predict, [5], (0.5,), calls=100, minutes=0.5, clock=clock)[0].calls == 31
    assert sweep_deadlines(predict, [5, 9], (0.5,), calls=100, minutes=0.01, clock=clock)[1].calls == 20


def test_a_longer_deadline_gets_a_better_stage_and_nobody_is_late_who_had_time() -> None:
    """Planner, session and sweep together, where a step takes a millisecond and nothing else does."""
    clock = FakeClock()
    model = toy_model(work=lambda a, b, n: clock.advance((b - a) / 1000))
    table = profile_backend(model.backend, SHAPE, minutes=60, machine={"id": "x"}, clock=clock)
    predictor = Predictor(model, table=table, policy=None, clock=clock)
    x = toy_images(1)
    points = sweep_deadlines(
        lambda ms: predictor.predict(x, deadline_ms=ms),
        [0.5, 1.5, 2.5, 3.5],
        VALIDATED,
        calls=20,
        clock=clock,
        cpu_clock=clock,
    )
    assert [point.late for point in points] == [1, 0, 0, 0]
    assert [point.mean_stage for point in points] == [1, 1, 2, 3]
    assert [point.accuracy for point in points] == pytest.approx([0.6, 0.6, 0.7, 0.9])


def latency(ms: float) -> Latency:
    return Latency(ms, 2 * ms, 3 * ms, repeats=9)


TABLE = CostTable(
    "cpu",
    {"id": "x"},
    "float32",
    1,
    (3, 8, 8),
    {(0, 1, 1): latency(1), (0, 2, 1): latency(5), (1, 2, 1): latency(4), (0, 1, 4): latency(2)},
)


def test_default_deadlines_go_from_the_first_stage_to_beyond_the_last() -> None:
    found = deadlines_of(TABLE, count=3)
    assert found == pytest.approx((1.0, 12**0.5, 12.0), rel=0.01)
    assert list(deadlines_of(TABLE)) == sorted(deadlines_of(TABLE))
    # What a call takes beside its segments, which of a tiny net is more than they take, moves both ends.
    assert deadlines_of(TABLE, count=2, beside_ms=100) == (101, 112)


def test_only_sub_networks_are_told_of_batches() -> None:
    points = batch_points(TABLE)
    assert [(p.batch, p.stage, p.images_per_second) for p in points] == [
        (1, 1, 1000),
        (1, 2, 200),
        (4, 1, 2000),
    ]


def test_both_sweeps_are_one_table() -> None:
    point = DeadlinePoint(5.0, 40, 0.25, None, 2.5, 10.0, (0.25, 0.75), 1.75, 0.75)
    found = Bench(TABLE.key, batch_points(TABLE), (point,))
    assert Bench.from_dict(found.to_dict()) == found
    rows = list(csv.DictReader(io.StringIO(bench_csv(found))))
    assert [row["sweep"] for row in rows] == ["batch"] * 3 + ["deadline"]
    assert (rows[0]["images_per_second"], rows[0]["deadline_ms"]) == ("1000.0", "")
    assert (rows[3]["deadline_ms"], rows[3]["share_2"], rows[3]["late_running"]) == ("5.0", "0.75", "")


@pytest.mark.parametrize(
    "options", [{"deadlines_ms": ()}, {"deadlines_ms": (0,)}, {"calls": 0}, {"minutes": 0}]
)
def test_what_cannot_be_swept_is_refused(options: dict[str, object]) -> None:
    given: dict[str, object] = {"deadlines_ms": (1,), **options}
    with pytest.raises(ValueError, match=next(iter(options))):
        sweep_deadlines(answering(FakeClock(), (1.0,), (1,)), validated=(0.5,), **given)  # type: ignore[arg-type]
