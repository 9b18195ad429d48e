"""Whatever happens in whatever order, at whatever time: each request ends once, and promises are kept."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.examples import examples
from tests.unit.runtime.fakes.tables import SHAPE, in_proportion, table_of

from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.serving.request import Overloaded, Request
from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.jobs import Answered, Broken, Dropped, Job, Work
from anytimenet.serving.scheduling.policies.known import known_policies, policy_named
from anytimenet.serving.scheduling.scheduler import Scheduler

ACCURACY = (0.5, 0.7, 0.65, 0.8)
QUEUE, STATES = 6, 4


def with_batches() -> CostTable:
    """A device on which eight images take as long as two."""
    entries = {
        (a, b, n): Latency(*(float((b - a) * (1 + (n - 1) / 7)),) * 3, repeats=50)
        for a in range(4)
        for b in range(a + 1, 5)
        for n in (1, 4, 8)
    }
    return CostTable("cuda", {"id": "0" * 8}, "float32", 1, SHAPE, entries)


TABLES = {
    "steps": in_proportion(4, overhead_ms=0.1),
    "jumps only": table_of({(0, 1): 1.0, (0, 2): 2.0, (0, 3): 3.0, (0, 4): 4.0}),
    "stages left out": table_of({(0, 2): 2.0, (2, 4): 2.0}),
    "batches": with_batches(),
}


class Machine(RuleBasedStateMachine):
    """Clients, workers and the clock do what they like."""

    policy = "anytime"

    @initialize(table=st.sampled_from(sorted(TABLES)), workers=st.integers(1, 3))
    def begin(self, table: str, workers: int) -> None:
        self.now, self.admitted, self.ends = 0.0, list[Job](), Counter[int]()
        self.table, self.running = table, list[Work]()
        self.found = Scheduler(
            Costs(TABLES[table], ACCURACY),
            policy_named(self.policy),
            workers=workers,
            queue_limit=QUEUE,
            states=STATES,
        )

    @rule(
        allowed=st.one_of(st.none(), st.floats(-0.001, 0.03)),
        min_stage=st.sampled_from((1, 1, 1, 2, 4)),
        priority=st.sampled_from((0, 0, 0, 1, -1)),
        waited=st.floats(0, 0.002),
    )
    def submit(self, allowed: float | None, min_stage: int, priority: int, waited: float) -> None:
        deadline = None if allowed is None else self.now + allowed
        request = Request(self.now - waited, deadline, min_stage, priority=priority)
        with suppress(Overloaded):
            self.admitted.append(self.found.submit(request, self.now))
        self.collect()

    @rule(seconds=st.one_of(st.floats(0, 0.003), st.sampled_from((-5.0, 0.1, 3600.0))))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_worker_is_free(self) -> None:
        before = list(self.found.view.waiting)
        work = self.found.next_work(self.now)
        if work is not None:
            self.running.append(work)
            self.check_begun(work, before)
        self.collect()

    def check_begun(self, work: Work, before: list[Job]) -> None:
        assert len(self.running) <= self.found.view.workers
        assert 0 <= work.start < work.stop
        for job in work.jobs:
            assert not job.ended
            assert not job.cancelled
        begun = [job for job in work.jobs if job in before]
        if begun:
            assert len(begun) == len(work.jobs)
            assert all(job.due > self.now for job in begun), "expired work began"
            left = [job for job in self.found.view.waiting if job.key < begun[0].key]
            assert not left or self.table == "batches", "not the earliest deadline"

    @precondition(lambda self: self.running)
    @rule(
        which=st.integers(0, 9), takes=st.floats(0, 0.006), numbers=st.sampled_from((True, True, True, False))
    )
    def a_segment_ends(self, which: int, takes: float, numbers: bool) -> None:
        work = self.running.pop(which % len(self.running))
        self.now += takes
        answers = [work.stop if numbers else 0 for _ in work.jobs]
        self.found.finished(work, self.now, answers)
        self.collect()

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 9))
    def a_segment_fails(self, which: int) -> None:
        self.found.failed(self.running.pop(which % len(self.running)), self.now, RuntimeError("gone"))
        self.collect()

    @precondition(lambda self: self.admitted)
    @rule(which=st.integers(0, 99))
    def a_client_leaves(self, which: int) -> None:
        self.found.cancel(self.admitted[which % len(self.admitted)], self.now)
        self.collect()

    @rule(sure=st.integers(0, 9))
    def close(self, sure: int) -> None:
        if sure == 0:
            self.found.close(self.now)
            self.collect()
            assert not self.found.view.waiting

    def collect(self) -> None:
        for end in self.found.outcomes():
            job = end.job
            self.ends[job.number] += 1
            assert self.ends[job.number] == 1, "ended twice"
            assert job.ended
            if isinstance(end, Answered):
                assert end.stage >= job.least
                assert job.began is not None
                assert not job.cancelled
            elif isinstance(end, Dropped) and end.reason != "cancelled":
                assert job.began is None, "refused after work was spent"
        for group in self.found.groups_over():
            assert all(job.ended for job in group.jobs)

    @invariant()
    def bounds_are_kept(self) -> None:
        if not hasattr(self, "found"):
            return
        view = self.found.view
        assert len(view.waiting) <= QUEUE
        assert len(view.running) == len(self.running)
        assert len(view.running) + len(view.paused) <= STATES
        keys = [job.key for job in view.waiting]
        assert keys == sorted(keys)
        under_way = [*view.waiting, *(job for group in view.paused for job in group.jobs)]
        under_way += [job for work in view.running for job in work.jobs]
        open_ones = {job.number for job in self.admitted if not job.ended}
        assert sorted(job.number for job in under_way) == sorted(open_ones), "lost, or there twice"

    def teardown(self) -> None:
        if not hasattr(self, "found"):
            return
        for _ in range(1000):
            for work in self.running:
                self.now = max(self.now, work.ends)
                self.found.finished(work, self.now)
            self.running = []
            while (begun := self.found.next_work(self.now)) is not None:
                self.running.append(begun)
            self.collect()
            if self.found.idle:
                break
            if not self.running:
                wake_at = self.found.wake_at()
                assert wake_at is not None, "requests are under way and nobody will ever look"
                self.now = max(self.now + 1e-6, wake_at)
        assert self.found.idle
        assert sorted(self.ends) == [job.number for job in self.admitted]


@pytest.mark.parametrize("policy", known_policies())
def test_every_request_ends_once_whatever_happens(policy):
    machine = type(f"Machine_{policy}", (Machine,), {"policy": policy})
    case = machine.TestCase
    case.settings = examples(15, stateful_step_count=40)
    case("runTest").runTest()


def test_a_failure_is_told_as_one():
    found = Scheduler(Costs(TABLES["steps"], ACCURACY), policy_named("anytime"))
    job = found.submit(Request(0.0, 1.0), 0.0)
    work = found.next_work(0.0)
    assert work is not None
    error = RuntimeError("gone")
    found.failed(work, 0.0, error)
    assert found.outcomes() == [Broken(job, error)]
