"""Segments are timed in turn on a clock that only they move; what is not timed is estimated or left out."""

from collections.abc import Callable

import pytest
from tests.unit.runtime.fakes.clock import FakeClock

from anytimenet.core.manifest.latency import Latency
from anytimenet.runtime.profiling.estimates import estimate
from anytimenet.runtime.profiling.timing import time_alone, time_segments
from anytimenet.runtime.profiling.work import Work


def working(clock: FakeClock, seconds: float) -> Callable[[object], object]:
    return lambda _: clock.advance(seconds)


def test_what_comes_before_and_after_a_run_takes_time_and_is_not_timed() -> None:
    clock = FakeClock()
    work = Work(working(clock, 0.002), ready=lambda: clock.advance(7), done=working(clock, 9))
    found = time_segments(lambda *key: work, 2, segments=[(1, 2)], minutes=60, repeats=10, clock=clock)
    assert list(found) == [(1, 2, 1)]
    assert found[1, 2, 1].median_ms == pytest.approx(2)
    assert clock.now == pytest.approx(15 * 16.002)  # 5 to warm up and 10 that count


def test_what_comes_before_a_run_counts_for_the_time_that_is_left() -> None:
    """A run takes a second and its preparation nine: of three segments in three minutes one is measured."""
    clock = FakeClock()
    work = Work(working(clock, 1), ready=lambda: clock.advance(9))
    found = time_segments(lambda *key: work, 2, minutes=3, warmup=0, repeats=10, clock=clock)
    assert clock.now <= 180
    assert [key for key, latency in found.items() if not latency.estimated] == [(0, 2, 1)]


def test_a_compiler_that_takes_its_time_is_asked_no_more_than_fits() -> None:
    """Twenty seconds to build a segment, two minutes: the sixth would come too late."""
    clock = FakeClock()
    built = []

    def prepare(start: int, stop: int, batch: int) -> Work:
        if (start, stop) not in built:
            clock.advance(20)
            built.append((start, stop))
        return Work(working(clock, 0.01))

    found = time_segments(prepare, 4, batch_sizes=(1, 2), minutes=2, clock=clock)
    assert clock.now <= 120
    assert built == [(0, 4), (0, 1), (0, 2), (0, 3), (1, 2)]
    measured = {key for key, latency in found.items() if not latency.estimated}
    assert measured == {(*segment, batch) for segment in built for batch in (1, 2)}  # what is built is timed


def test_only_segments_that_are_there_are_timed_and_listed() -> None:
    clock = FakeClock()
    there = [(0, 1), (1, 2), (2, 3)]
    found = time_segments(lambda a, b, n: Work(working(clock, b)), 3, segments=there, minutes=60, clock=clock)
    assert list(found) == [(0, 1, 1), (1, 2, 1), (2, 3, 1)]
    assert not any(latency.estimated for latency in found.values())


def test_where_nothing_is_known_there_is_no_entry() -> None:
    """Of steps alone, those after the first are bounded by nothing that was measured."""
    clock = FakeClock()
    steps = [(0, 1), (1, 2), (2, 3)]
    found = time_segments(
        lambda *key: Work(working(clock, 9)), 3, segments=steps, minutes=0.5, clock=clock, batch_sizes=(1, 4)
    )
    assert found.keys() == {(0, 1, 1), (0, 1, 4)}
    assert found[0, 1, 4].estimated


def test_no_segment_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no segment to time"):
        time_segments(lambda *key: Work(print), 3, segments=[])


def test_a_function_is_work_too() -> None:
    clock = FakeClock()
    found = time_segments(lambda *key: lambda: clock.advance(0.004), 1, minutes=60, clock=clock)
    assert found[0, 1, 1].p99_ms == pytest.approx(4)


def test_one_piece_of_work_is_timed_until_the_time_ends_and_five_times_at_least() -> None:
    clock = FakeClock()
    work = Work(working(clock, 1))
    assert time_alone(work, minutes=60, repeats=20, clock=clock).repeats == 20
    assert time_alone(work, minutes=11 / 60, warmup=1, repeats=50, clock=clock).repeats == 11
    assert time_alone(work, minutes=0.01, repeats=50, clock=clock).repeats == 5


def latency(median_ms: float) -> Latency:
    return Latency(median_ms, 2 * median_ms, 3 * median_ms, repeats=9)


@pytest.mark.parametrize(
    ("key", "median_ms"),
    [
        ((0, 2, 1), 3),  # 1 + 2 is cheaper than (0, 3)
        ((1, 3, 1), 7),  # of the steps 2 + 5 and the jump (0, 3)
        ((1, 2, 4), 8),  # the smaller batch in proportion
        ((0, 1, 2), 2),
        ((2, 3, 4), 20),
    ],
)
def test_estimates(key: tuple[int, int, int], median_ms: float) -> None:
    measured = {(0, 1): 1.0, (1, 2): 2.0, (2, 3): 5.0, (0, 3): 7.5}
    found = estimate(key, {(a, b, 1): latency(ms) for (a, b), ms in measured.items()})
    assert found is not None
    assert (found.median_ms, found.p95_ms, found.p99_ms) == (median_ms, 2 * median_ms, 3 * median_ms)
    assert (found.estimated, found.repeats) == (True, 0)


def test_a_larger_batch_is_enough_for_a_smaller_one_and_of_nothing_nothing_follows() -> None:
    assert estimate((0, 1, 2), {(0, 1, 8): latency(6)}) == Latency(6, 12, 18, repeats=0, estimated=True)
    assert estimate((1, 2, 1), {(0, 1, 1): latency(1)}) is None
