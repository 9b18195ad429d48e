"""The scheduler: admits, queues, chooses what runs next, and ends every request exactly once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from anytimenet.core import checks
from anytimenet.core.errors import NotFiniteError
from anytimenet.serving.request import Overloaded, Reason, Request
from anytimenet.serving.scheduling.arrivals import Arrivals
from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.jobs import (
    PATIENCE_S,
    Answered,
    Broken,
    Dropped,
    Group,
    Job,
    Outcome,
    Work,
)
from anytimenet.serving.scheduling.policies.policy import Continue, Policy, Start, View, Wait
from anytimenet.serving.scheduling.waiting import Waiting


class Scheduler:
    """A state machine on a clock that it is given: the server and the simulator drive the same one.

    A worker that is free asks `next_work`, runs it, and says `finished` or `failed`. At each such border, and
    whenever something comes, whoever is to be answered ends; `outcomes` tells who. Not for several threads at
    once: the caller locks.

    Args:
        costs: worth and time of the stages.
        policy: how deep requests go.
        workers: segments that run at a time.
        queue_limit: requests that wait at most.
        states: groups that may be under way at a time, each with the memory of a state.
        reserve_s: kept free before each deadline, for making the prediction and returning it.
        in_one_go: whether whoever runs the work ends a run over several stages at its deadline, with the best
            stage that is finished, as the native engine does.

    Attributes:
        reserve_s: may change while it runs.

    Raises:
        TypeError, ValueError: for values out of range.
    """

    def __init__(
        self,
        costs: Costs,
        policy: Policy,
        *,
        workers: int = 1,
        queue_limit: int = 1024,
        states: int = 64,
        reserve_s: float = 0.0,
        in_one_go: bool = False,
    ) -> None:
        workers = checks.whole_number(workers, "workers", 1, 4096)
        self.queue_limit = checks.whole_number(queue_limit, "queue_limit", 1)
        self.reserve_s = float(checks.number(reserve_s, "reserve_s", 0))
        states = checks.whole_number(states, "states", workers)
        self.policy = policy
        self.view = View(costs, workers, Waiting(), [], [], Arrivals(), states, in_one_go=in_one_go)
        self.closing = False
        self._count = 0
        self._ended: list[Outcome] = []
        self._over: list[Group] = []
        self._wait_until: float | None = None

    @property
    def costs(self) -> Costs:
        """Worth and time of the stages."""
        return self.view.costs

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return not (self.view.waiting or self.view.paused or self.view.running)

    def submit(self, request: Request, now: float, tag: object = None) -> Job:
        """Admits a request into the queue.

        Others of lower priority that have not begun may be refused for it; see `outcomes`.

        Raises:
            Overloaded: if not even its least stage would be in time, or nobody may come any more.
            ValueError: for a stage or an accuracy that this net does not have.
        """
        view = self.view
        view.now = now
        least = self._least(request)
        deadline = request.deadline
        allowed_s = math.inf if deadline is None else deadline - now
        view.arrivals.came(now, allowed_s)
        if self.closing:
            raise Overloaded(1.0, "closing")
        due = math.inf if deadline is None else deadline - self.reserve_s
        order = request.arrived + PATIENCE_S if deadline is None else deadline
        job = Job(self._count, request, least, due, order, tag=tag)
        if due - now < self.costs.seconds(0, least):
            self.policy.dropped(view, job)
            raise Overloaded(0.0, "expired")
        self._make_room(job)
        self._count += 1
        view.waiting.add(job)
        view.version += 1
        return job

    def check(self, request: Request, now: float) -> None:
        """Refuses what would be refused now; a request that passes is counted when it is submitted.

        Raises:
            Overloaded, ValueError: as `submit`.
        """
        view = self.view
        view.now = now
        least, deadline = self._least(request), request.deadline
        if deadline is None and not self.closing:
            return
        due = math.inf if deadline is None else deadline - self.reserve_s
        job = Job(self._count, request, least, due, request.arrived if deadline is None else deadline)
        refused: Overloaded | None = None
        if self.closing:
            refused = Overloaded(1.0, "closing")
        elif due - now < self.costs.seconds(0, least):
            refused = Overloaded(0.0, "expired")
        elif all(other.priority >= job.priority for other in view.waiting):
            wait_s = self.policy.refusal_s(view, job)
            refused = None if wait_s is None else Overloaded(wait_s)
        if refused is not None:
            view.arrivals.came(now, math.inf if deadline is None else deadline - now)
            self.policy.dropped(view, job)
            raise refused

    def next_work(self, now: float) -> Work | None:
        """What a free worker runs; None for nothing until something happens, or until `wake_at`."""
        view = self.view
        view.now, self._wait_until = now, None
        self._sweep()
        if len(view.running) >= view.workers:
            return None
        choice = self.policy.choose(view)
        if isinstance(choice, Start) and len(view.paused) + len(view.running) >= view.states:
            choice = self._make_state(choice)
        if isinstance(choice, Wait):
            self._wait_until = choice.until
            return None
        if choice is None:
            return None
        work = self._begun(choice)
        view.running.append(work)
        view.version += 1
        if len(view.running) == view.workers:
            self._nobody_is_free()
        return work

    def finished(
        self, work: Work, now: float, answers: Sequence[int] | None = None, stage: int | None = None
    ) -> None:
        """A segment is over.

        Args:
            work: that `next_work` gave.
            now: seconds.
            answers: for each job the stage that gave numbers, 0 for none; by default the stage reached.
            stage: reached; less than `work.stop` where a deadline or a client cut it short.
        """
        view = self.view
        view.now, view.version = now, view.version + 1
        view.running.remove(work)
        group = work.group
        group.stage = work.stop if stage is None else stage
        found = [group.stage] * len(group.jobs) if answers is None else answers
        for job, answer in zip(list(group.jobs), found, strict=True):
            if answer >= job.least:
                job.standing = self.costs.stands(job.standing, answer)
        view.paused.append(group)
        self._sweep()

    def failed(self, work: Work, now: float, error: Exception) -> None:
        """A segment failed: so do its jobs."""
        self.view.now = now
        self.view.running.remove(work)
        self._over.append(work.group)
        for job in work.group.jobs:
            if job.cancelled:
                self._drop(job, "cancelled")
            else:
                self._end(Broken(job, error))

    def cancel(self, job: Job, now: float) -> None:
        """A client went away: the job ends, at the next border if it runs. Again does nothing."""
        if job.ended or job.cancelled:
            return
        self.view.now = now
        job.cancelled = True
        if job in self.view.waiting:
            self.view.waiting.remove(job)
            self._drop(job, "cancelled")
        else:
            self._sweep()

    def close(self, now: float) -> None:
        """Admits nobody any more; who waits is refused, who has begun is answered."""
        self.closing = True
        self.view.now = now
        for job in list(self.view.waiting):
            self.view.waiting.remove(job)
            self._drop(job, "closing", 1.0)
        self._sweep()

    def abandon(self, error: Exception) -> list[Outcome]:
        """Ends everybody who waits between two segments: no worker will come any more."""
        for group in list(self.view.paused):
            for job in group.jobs:
                self._end(Broken(job, error))
            self._retire(group)
        return self.outcomes()

    def outcomes(self) -> list[Outcome]:
        """Who has ended since this was last asked."""
        ended, self._ended = self._ended, []
        return ended

    def groups_over(self) -> list[Group]:
        """The groups that nobody goes on with since this was last asked: their memory can be given back."""
        over, self._over = self._over, []
        return over

    @property
    def has_outcomes(self) -> bool:
        """Whether `outcomes` has something to tell."""
        return bool(self._ended)

    def wake_at(self) -> float | None:
        """When to ask `next_work` again though nothing happened; None for never."""
        found = [group.due for group in self.view.paused if group.due < math.inf]
        found += [] if self._wait_until is None else [self._wait_until]
        first = self.view.waiting.first
        found += [first.due] if first is not None and first.due < math.inf else []
        return min(found, default=None)

    # --- inside ---------------------------------------------------------------------------------------

    def _least(self, request: Request) -> int:
        costs = self.costs
        least = costs.least_stage(request.min_stage, request.min_accuracy)
        if least is not None:
            return least
        if request.min_stage > costs.stages[-1]:
            raise ValueError(f"min_stage {request.min_stage}: this net has {costs.stages[-1]} stages")
        raise ValueError(
            f"min_accuracy {request.min_accuracy}: no stage from {request.min_stage} on has that validated "
            f"accuracy; they have {[costs.validated[stage - 1] for stage in costs.stages]}"
        )

    def _make_room(self, job: Job) -> None:
        """Raises Overloaded unless the job can be admitted, at the cost of lower priorities if it must be."""
        view = self.view
        lower = sorted(
            (other for other in view.waiting if other.priority < job.priority),
            key=lambda other: (other.priority, -other.order, -other.number),
        )
        out: list[Job] = []
        while True:
            wait_s = 0.0 if len(view.waiting) < self.queue_limit else self._a_moment()
            if not wait_s:
                refused = self.policy.refusal_s(view, job)
                if refused is None:
                    break
                wait_s = refused
            if not lower:
                for other in out:
                    view.waiting.add(other)
                self.policy.dropped(view, job)
                raise Overloaded(wait_s)
            out.append(lower.pop(0))
            view.waiting.remove(out[-1])
        for other in out:
            self._drop(other, "overload", self._a_moment())

    def _a_moment(self) -> float:
        """Seconds until the queue has moved on by some places."""
        return max(10 * self.costs.seconds(0, self.costs.stages[0]) / self.view.workers, 0.01)

    def _sweep(self) -> None:
        """Ends whoever is over: gone, out of time, or answered well enough."""
        view = self.view
        now, waiting = view.now, view.waiting
        while (first := waiting.first) is not None and (
            first.due <= now or self.policy.hopeless(view, first)
        ):
            waiting.remove(first)
            self._drop(first, "expired", self._a_moment())
        last = self.costs.stages[-1]
        for group in list(view.paused):
            for job in list(group.jobs):
                if job.cancelled:
                    group.leave(job)
                    self._drop(job, "cancelled")
                elif job.answered and (
                    group.stage == last
                    or job.due <= now
                    or self.closing
                    or self.policy.ends(view, group, job)
                ):
                    group.leave(job)
                    self._end(Answered(job, job.standing))
                elif group.stage == last:
                    group.leave(job)
                    self._end(Broken(job, NotFiniteError.of_stage(last)))
            if not group.jobs:
                self._retire(group)

    def _retire(self, group: Group) -> None:
        self.view.paused.remove(group)
        self._over.append(group)

    def _nobody_is_free(self) -> None:
        """Whoever would be late by the time that a worker is free leaves with what stands."""
        view = self.view
        free_at = min(work.ends for work in view.running)
        for group in list(view.paused):
            for job in [job for job in group.jobs if job.answered and job.due < free_at]:
                group.leave(job)
                self._end(Answered(job, job.standing))
            if not group.jobs:
                self._retire(group)

    def _make_state(self, wanted: Start) -> Start | Continue | Wait | None:
        """No memory for another state: whoever is answered leaves, else one goes on that is not."""
        view = self.view
        for group in sorted(view.paused, key=lambda each: each.order):
            if all(job.answered for job in group.jobs):
                for job in list(group.jobs):
                    group.leave(job)
                    self._end(Answered(job, job.standing))
                self._retire(group)
                return wanted
        group = min(view.paused, key=lambda each: each.order)
        least = max(job.least for job in group.jobs)
        start, stop = self.costs.way(group.stage, max(least, group.stage + 1))[0]
        return Continue(group, start, stop)

    def _begun(self, choice: Start | Continue) -> Work:
        view, now = self.view, self.view.now
        if isinstance(choice, Start):
            for job in choice.jobs:
                view.waiting.remove(job)
                job.began = now
            group, start, stop = Group(list(choice.jobs), goal=choice.goal), 0, choice.stop
        else:
            group, start, stop = choice.group, choice.start, choice.stop
            view.paused.remove(group)
        takes = self.costs.seconds(start, stop, len(group.jobs))
        return Work(group, start, stop, now, now + (takes if takes < math.inf else 0.0))

    def _drop(self, job: Job, reason: Reason, retry_after_s: float = 0.0) -> None:
        if reason in ("overload", "expired"):
            self.policy.dropped(self.view, job)
        self._end(Dropped(job, reason, retry_after_s))

    def _end(self, outcome: Outcome) -> None:
        job = outcome.job
        job.ended = True
        self.view.version += 1
        if isinstance(outcome, Answered):
            (self.policy.answered if self.view.now <= job.due else self.policy.dropped)(self.view, job)
        self._ended.append(outcome)
