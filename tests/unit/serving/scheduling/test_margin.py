"""The margin that misses widen, in each place where plans keep it back."""

from __future__ import annotations

import pytest
from tests.unit.serving.scheduling.test_scheduler import ask, scheduler, serve

from anytimenet.serving.request import Overloaded, Request
from anytimenet.serving.scheduling.jobs import Answered
from anytimenet.serving.scheduling.policies import anytime
from anytimenet.serving.scheduling.policies.outlook import Outlook
from anytimenet.serving.scheduling.policies.pressure import Pressure
from anytimenet.serving.scheduling.scheduler import Scheduler

ALLOWED_S, BEGIN = 0.1, 0.13
WIDEST_S = 0.6 * ALLOWED_S


def scheduler_after(misses: int) -> Scheduler:
    found = scheduler()
    for number in range(misses):
        with pytest.raises(Overloaded):
            found.submit(Request(0.0, ALLOWED_S), 0.1 + number / 1000)
    return found


def stage_of(found: Scheduler) -> int:
    (stage,) = [end.stage for end in found.outcomes() if isinstance(end, Answered)]
    return stage


@pytest.mark.parametrize(("misses", "stage"), [(0, 3), (30, 1)])
def test_it_is_kept_from_what_others_can_wait(misses, stage, monkeypatch):
    left_s = Pressure(slack=0.01)  # time for all three stages, and less than the margin is at its widest
    monkeypatch.setattr(anytime, "pressure", lambda view, priority, kept_back_s: left_s)
    monkeypatch.setattr(anytime.Anytime, "_outlook", lambda self, view: None)
    found = scheduler_after(misses)
    ask(found, BEGIN, ALLOWED_S)
    serve(found, BEGIN)
    assert stage_of(found) == stage


@pytest.mark.parametrize(("misses", "least_s", "most_s"), [(0, 0.0, 0.0), (30, 0.4 * WIDEST_S, WIDEST_S)])
def test_those_who_wait_are_planned_to_end_before_it(misses, least_s, most_s, monkeypatch):
    kept = []

    def seen(view, priority, kept_back_s):
        kept.append(kept_back_s)
        return Pressure()

    monkeypatch.setattr(anytime, "pressure", seen)
    found = scheduler_after(misses)
    ask(found, BEGIN, ALLOWED_S)
    serve(found, BEGIN)
    assert kept
    assert all(least_s <= each <= most_s for each in kept)


def test_those_to_come_are_expected_to_allow_less(monkeypatch):
    allowed = []

    class Seen(Outlook):
        def __init__(self, seconds, values, rate, allowed_s, workers):
            allowed.append(allowed_s)
            super().__init__(seconds, values, rate, allowed_s, workers)

    monkeypatch.setattr(anytime, "Outlook", Seen)
    for misses in (0, 30):
        found = scheduler_after(misses)
        for number in range(20):  # until it is known what requests allow
            ask(found, BEGIN + number / 100, ALLOWED_S)
            serve(found, BEGIN + number / 100)
        allowed.append(0.0)
    usual = max(allowed[: allowed.index(0.0)])
    careful = allowed[allowed.index(0.0) + 1 : -1]
    assert usual > 0.08
    assert careful
    assert max(careful) < 0.7 * usual


def test_where_the_most_urgent_has_no_more_than_it_nothing_else_is_reckoned(monkeypatch):
    found = scheduler_after(30)
    for _ in range(2):
        ask(found, BEGIN, ALLOWED_S)

    def never(*given):
        raise AssertionError("the queue was looked through")

    monkeypatch.setattr(anytime, "pressure", never)
    late = BEGIN + ALLOWED_S - 0.01
    work = found.next_work(late)
    assert work is not None
    assert work.stop == 1
