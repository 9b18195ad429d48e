"""What a net does at many batch sizes and under many deadlines: rows of one table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from anytimenet.core import checks
from anytimenet.core.answers.prediction import Prediction
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.records import Record

_FEWEST_CALLS = 20
_DEADLINES = 8
_LONGEST = 1.2
"""The longest deadline that is tried over what the full net needs."""


@dataclass(frozen=True)
class BatchPoint(Record):
    """Sub-network `stage` on batches of one size.

    Attributes:
        batch: images that run together.
        stage: the stage that answers.
        median_ms: latency of the whole batch.
        p99_ms: its 99th percentile.
        images_per_second: by the median.
        estimated: true if it was not measured.
    """

    batch: int
    stage: int
    median_ms: float
    p99_ms: float
    images_per_second: float
    estimated: bool


@dataclass(frozen=True)
class DeadlinePoint(Record):
    """Single images, each to be answered within one deadline.

    Attributes:
        deadline_ms: from call to answer.
        calls: images that were asked for.
        late: share of them that were answered after it.
        late_running: share of them that were late even without the time in which the system had given the
            processor to somebody else; None where that time is not known.
        median_ms: half of the answers came sooner.
        p99_ms: 99 % came sooner.
        shares: of the answers that each stage gave.
        mean_stage: of the answers.
        accuracy: mean validated score of the stages that answered; None where they were not validated.
    """

    deadline_ms: float
    calls: int
    late: float
    late_running: float | None
    median_ms: float
    p99_ms: float
    shares: tuple[float, ...]
    mean_stage: float
    accuracy: float | None


def batch_points(table: CostTable) -> tuple[BatchPoint, ...]:
    """The sub-networks in a cost table, by batch size, then stage.

    >>> from anytimenet.core.manifest.latency import Latency
    >>> entries = {(0, 1, 4): Latency(2, 3, 5, repeats=9)}
    >>> table = CostTable("cpu", {"id": "x"}, "float32", 1, (3, 8, 8), entries)
    >>> batch_points(table)[0].images_per_second
    2000.0
    """
    found = []
    for (start, stop, batch), latency in sorted(table.entries.items(), key=lambda entry: entry[0][::-1]):
        if start == 0:
            rate = 1000 * batch / latency.median_ms if latency.median_ms > 0 else 0.0
            found.append(BatchPoint(batch, stop, latency.median_ms, latency.p99_ms, rate, latency.estimated))
    return tuple(found)


def deadlines_of(table: CostTable, count: int = _DEADLINES, *, beside_ms: float = 0.0) -> tuple[float, ...]:
    """Deadlines from what hardly stage 1 needs to 1.2 times what the full net needs, in equal ratios.

    They begin at the median of the cheapest sub-network, where about half of the answers must be late.

    Args:
        table: what segments take.
        count: of the deadlines.
        beside_ms: what a call takes beside its segments; of tiny nets it is the larger part.
    """
    checks.whole_number(count, "count", 2)
    stages = [stop for start, stop, batch in table.entries if start == 0 and batch == 1]
    first = min(table.latency(0, stop).median_ms for stop in stages)
    last = _LONGEST * max(table.latency(0, stop).p95_ms for stop in stages)
    first, last = (beside_ms + least for least in (max(first, 1e-3), max(last, 2 * first, 2e-3)))
    found = np.geomspace(first, last, count)
    return tuple(float(f"{deadline:.3g}") for deadline in found)


def sweep_deadlines(
    predict: Callable[[float], Prediction],
    deadlines_ms: Sequence[float],
    validated: Sequence[float | None],
    *,
    calls: int = 500,
    minutes: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] | None = time.thread_time,
) -> tuple[DeadlinePoint, ...]:
    """Asks for one image after the other under each deadline, all deadlines in turn.

    In turn, so that a machine that is busy for a while does so to all of them alike.

    Args:
        predict: answers within the deadline it is given, in milliseconds.
        deadlines_ms: to try.
        validated: scores of stages 1..K.
        calls: for each deadline; fewer (at least 20) if the time ends.
        minutes: time for everything.
        clock: seconds of the wall, for tests.
        cpu_clock: seconds that the calling thread has had the processor; None where others do the work, as
            with several threads or a GPU.

    Raises:
        ValueError: for no deadlines, or a number out of range.
    """
    wanted = checks.numbers(deadlines_ms, "deadlines_ms", above=0)
    if not wanted:
        raise ValueError("deadlines_ms must hold one deadline or more, and is empty")
    checks.whole_number(calls, "calls", 1)
    end = clock() + 60 * checks.number(minutes, "minutes", above=0)
    seen: list[list[_Call]] = [[] for _ in wanted]
    for number in range(calls):
        if number >= _FEWEST_CALLS and clock() > end:
            break
        for deadline_ms, found in zip(wanted, seen, strict=True):
            before, ran = clock(), None if cpu_clock is None else cpu_clock()
            answer = predict(deadline_ms)
            wall = clock() - before
            waited = 0.0 if cpu_clock is None or ran is None else max(wall - (cpu_clock() - ran), 0.0)
            found.append(_Call(answer.stage, answer.elapsed_ms, answer.late, 1000 * waited))
    points = [_point(deadline, found, validated) for deadline, found in zip(wanted, seen, strict=True)]
    if cpu_clock is None:
        points = [replace(point, late_running=None) for point in points]
    return tuple(points)


@dataclass(frozen=True)
class _Call:
    stage: int
    elapsed_ms: float
    late: bool
    waited_ms: float
    """Milliseconds in which the thread did not have the processor."""


def _point(deadline_ms: float, found: Sequence[_Call], validated: Sequence[float | None]) -> DeadlinePoint:
    times = np.array([call.elapsed_ms for call in found])
    stages = np.array([call.stage for call in found])
    running = [call.late and call.elapsed_ms - call.waited_ms > deadline_ms for call in found]
    scores = [validated[stage - 1] for stage in stages]
    known = [score for score in scores if score is not None]
    return DeadlinePoint(
        deadline_ms=float(deadline_ms),
        calls=len(found),
        late=float(np.mean([call.late for call in found])),
        late_running=float(np.mean(running)),
        median_ms=float(np.median(times)),
        p99_ms=float(np.percentile(times, 99, method="higher")),
        shares=tuple(float(np.mean(stages == stage)) for stage in range(1, len(validated) + 1)),
        mean_stage=float(stages.mean()),
        accuracy=float(np.mean(known)) if len(known) == len(scores) else None,
    )


@dataclass(frozen=True)
class Bench(Record):
    """Both sweeps of one net on one backend.

    Attributes:
        table: key of the cost table that deadlines were planned with.
        batches: each sub-network on each batch size.
        deadlines: single images under each deadline; empty where none were swept.
    """

    table: str
    batches: tuple[BatchPoint, ...]
    deadlines: tuple[DeadlinePoint, ...] = field(default=())
