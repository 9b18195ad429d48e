"""The state machine, step by step on a clock that only the test moves."""

from __future__ import annotations

import pytest
from tests.unit.runtime.fakes.tables import in_proportion

from anytimenet.serving.request import Overloaded, Request
from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.jobs import Answered, Broken, Dropped
from anytimenet.serving.scheduling.policies.known import policy_named
from anytimenet.serving.scheduling.scheduler import Scheduler

ACCURACY = (0.5, 0.7, 0.8)


def scheduler(policy: str = "anytime", **more: object) -> Scheduler:
    """Three stages of 1 ms each."""
    costs = Costs(in_proportion(3, overhead_ms=0.0), ACCURACY)
    return Scheduler(costs, policy_named(policy), **more)  # type: ignore[arg-type]


def ask(found: Scheduler, now: float, allowed: float | None, **more: object):
    deadline = None if allowed is None else now + allowed
    return found.submit(Request(now, deadline, **more), now)  # type: ignore[arg-type]


def serve(found: Scheduler, now: float) -> float:
    """One worker until nothing is left; the time then."""
    while (work := found.next_work(now)) is not None:
        now = work.ends
        found.finished(work, now)
    return now


def test_one_request_with_time_runs_step_by_step_to_the_last_stage():
    found = scheduler()
    job = ask(found, 0.0, 0.1)
    segments, now = [], 0.0
    while (work := found.next_work(now)) is not None:
        segments.append((work.start, work.stop))
        now = work.ends
        found.finished(work, now)
    assert segments == [(0, 1), (1, 2), (2, 3)]
    assert found.outcomes() == [Answered(job, 3)]
    assert found.idle


def test_the_earliest_deadline_begins_first():
    found = scheduler("stage_1")
    jobs = [ask(found, 0.0, allowed) for allowed in (0.3, 0.1, None, 0.2)]
    serve(found, 0.0)
    assert [end.job.number for end in found.outcomes()] == [1, 3, 0, 2]
    assert all(job.ended for job in jobs)


def test_what_is_expired_never_begins():
    found = scheduler("full")
    ask(found, 0.0, 0.01)
    late = ask(found, 0.0, 0.0101)
    first = found.next_work(0.0)
    assert first is not None
    assert found.next_work(0.001) is None
    found.finished(first, 0.02)
    assert found.next_work(0.02) is None
    dropped = [end for end in found.outcomes() if isinstance(end, Dropped)]
    assert [(end.job, end.reason) for end in dropped] == [(late, "expired")]


def test_depth_is_given_up_before_anybody_is_refused():
    found = scheduler()
    jobs = [ask(found, 0.0, 0.0095) for _ in range(9)]  # 9 ms of first stages, 27 ms of full answers
    serve(found, 0.0)
    ends = found.outcomes()
    assert sorted(end.job.number for end in ends) == list(range(9))
    assert all(end == Answered(end.job, 1) for end in ends)
    assert all(job.ended for job in jobs)


def test_nobody_is_admitted_whom_even_a_first_stage_would_answer_late():
    found = scheduler()
    for _ in range(9):
        ask(found, 0.0, 0.0095)
    with pytest.raises(Overloaded) as refused:
        ask(found, 0.0, 0.0095)
    assert refused.value.reason == "overload"
    assert 0 < refused.value.retry_after_s < 0.1
    with pytest.raises(Overloaded, match="longer than the deadline"):
        ask(found, 0.0, 0.0005)
    ask(found, 0.0, 0.012)
    serve(found, 0.0)
    assert all(isinstance(end, Answered) for end in found.outcomes())


def test_a_higher_priority_takes_the_place_of_a_lower_one_that_has_not_begun():
    found = scheduler()
    low = [ask(found, 0.0, 0.0095) for _ in range(9)]
    high = ask(found, 0.0, 0.0095, priority=1)
    (dropped,) = found.outcomes()
    assert dropped == Dropped(low[-1], "overload", dropped.retry_after_s)
    with pytest.raises(Overloaded):
        ask(found, 0.0, 0.0095, priority=-1)
    serve(found, 0.0)
    ends = found.outcomes()
    assert len(ends) == 9
    assert ends[0].job is high


def test_the_queue_is_bounded():
    found = scheduler(queue_limit=3)
    for _ in range(3):
        ask(found, 0.0, None)
    with pytest.raises(Overloaded):
        ask(found, 0.0, None)
    assert len(found.view.waiting) == 3


def test_groups_under_way_are_bounded_and_whoever_is_answered_leaves_for_another():
    found = scheduler(workers=1, states=2)
    for each in range(6):
        ask(found, 0.0, 1.0 - each / 10)
        work = found.next_work(0.0)
        if work is not None:
            found.finished(work, 0.0)
        assert len(found.view.paused) + len(found.view.running) <= 2
    serve(found, 0.0)
    assert len(found.outcomes()) == 6


def test_a_minimum_stage_or_accuracy_is_kept_even_when_time_is_short():
    found = scheduler()
    ask(found, 0.0, 0.0035, min_stage=3)
    serve(found, 0.0)
    assert [end.stage for end in found.outcomes() if isinstance(end, Answered)] == [3]
    ask(found, 0.2, 0.0025, min_accuracy=0.7)
    serve(found, 0.2)
    ends = found.outcomes()
    assert [end.stage for end in ends if isinstance(end, Answered)] == [2]


def test_cancelling_ends_who_waits_at_once_and_who_runs_at_the_border():
    found = scheduler()
    running, waiting = ask(found, 0.0, 0.1), ask(found, 0.0, 0.2)
    work = found.next_work(0.0)
    assert work is not None
    found.cancel(waiting, 0.0)
    found.cancel(running, 0.0)
    found.cancel(running, 0.0)
    assert found.outcomes() == [Dropped(waiting, "cancelled")]
    found.finished(work, 0.001)
    assert found.outcomes() == [Dropped(running, "cancelled")]
    assert found.groups_over() == [work.group]
    assert found.idle


def test_a_failure_fails_its_job_alone():
    found = scheduler()
    first, second = ask(found, 0.0, 0.1), ask(found, 0.0, 0.2)
    work = found.next_work(0.0)
    assert work is not None
    error = RuntimeError("gone")
    found.failed(work, 0.0, error)
    serve(found, 0.0)
    assert found.outcomes() == [Broken(first, error), Answered(second, 3)]


def test_closing_refuses_who_waits_and_answers_who_has_begun():
    found = scheduler()
    running, waiting = ask(found, 0.0, 0.1), ask(found, 0.0, 0.2)
    work = found.next_work(0.0)
    assert work is not None
    found.close(0.0)
    assert found.outcomes() == [Dropped(waiting, "closing", 1.0)]
    found.finished(work, 0.001)
    assert found.outcomes() == [Answered(running, 1)]
    with pytest.raises(Overloaded, match="closing"):
        ask(found, 0.0, 0.1)


def test_whoever_would_be_late_by_the_time_that_a_worker_is_free_leaves_with_what_stands():
    found = scheduler(workers=1)
    first = ask(found, 0.0, 0.0043)
    work = found.next_work(0.0)
    assert work is not None
    urgent = [ask(found, 0.0009, 0.0041, priority=1, min_stage=3)]
    found.finished(work, 0.001)
    work = found.next_work(0.001)
    while work is not None and work.jobs[0] is first:
        found.finished(work, work.ends)
        work = found.next_work(work.ends)
    assert work is not None
    assert list(work.jobs) == urgent
    ends = found.outcomes()
    assert [end.job for end in ends] == [first]
    assert isinstance(ends[0], Answered)


def test_the_clock_may_jump_either_way():
    found = scheduler()
    first = ask(found, 100.0, 0.1)
    second = ask(found, 3.0, 0.1)
    serve(found, 2.0)
    third = ask(found, 1e6, 0.1)
    serve(found, 1e6)
    serve(found, 0.0)
    assert {end.job for end in found.outcomes()} == {first, second, third}
    assert found.idle


def test_what_can_be_ended_at_its_deadline_runs_in_one_go():
    found = scheduler(in_one_go=True)
    job = ask(found, 0.0, 0.1)
    work = found.next_work(0.0)
    assert work is not None
    assert (work.start, work.stop) == (0, 3)
    found.finished(work, 0.002, [2], stage=2)  # a client or a deadline ended it on the way
    assert found.next_work(0.002) is not None or found.outcomes() == [Answered(job, 2)]


def test_who_wants_every_stage_or_allows_little_time_is_asked_at_every_border():
    found = scheduler(in_one_go=True)
    ask(found, 0.0, 0.1, stream=True)
    assert found.next_work(0.0).stop == 1
    found = scheduler(in_one_go=True)
    ask(found, 0.0, 0.008)
    assert found.next_work(0.0).stop == 1


def stages_of(found: Scheduler, now: float, requests: int) -> list[int]:
    """Of so many that come at once, each with time for a hundred stages."""
    for _ in range(requests):
        ask(found, now, 0.1)
    serve(found, now)
    return [end.stage for end in found.outcomes() if isinstance(end, Answered)]


def test_misses_that_nobody_foresaw_take_depth_where_others_wait_for_a_while():
    found = scheduler()
    for number in range(20):  # such as those that waited in their sockets until it was too late
        with pytest.raises(Overloaded):
            found.submit(Request(0.0, 0.1), 0.1 + number / 1000)
    assert stages_of(found, 0.13, 8) == [2] * 7 + [3]
    assert stages_of(found, 0.5, 1) == [3]  # nobody waits: a miss says nothing against depth
    assert stages_of(found, 120.0, 8) == [3] * 8


def test_a_deadline_that_nothing_can_keep_is_no_miss():
    found = scheduler()
    for _ in range(20):
        with pytest.raises(Overloaded):
            found.submit(Request(0.0, 0.0005), 0.0)
    ask(found, 0.0, 0.1)
    serve(found, 0.0)
    assert [end.stage for end in found.outcomes() if isinstance(end, Answered)] == [3]
