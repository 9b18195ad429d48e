"""The scheduler: admits, queues, chooses what runs next, and ends every request exactly once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from anytimenet.core import checks
from anytimenet.serving.request import Request
from anytimenet.serving.scheduling.admission import Admission
from anytimenet.serving.scheduling.arrivals import Arrivals
from anytimenet.serving.scheduling.borders import Borders
from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.ends import Ends
from anytimenet.serving.scheduling.jobs import (
    Broken,
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
        queue_limit = checks.whole_number(queue_limit, "queue_limit", 1)
        self.reserve_s = float(checks.number(reserve_s, "reserve_s", 0))
        states = checks.whole_number(states, "states", workers)
        self.policy = policy
        self.view = View(costs, workers, Waiting(), [], [], Arrivals(), states, in_one_go=in_one_go)
        self._ends = Ends(self.view, policy)
        self._admission = Admission(self.view, policy, self._ends, queue_limit)
        self._borders = Borders(self.view, policy, self._ends)
        self._wait_until: float | None = None

    @property
    def closing(self) -> bool:
        """Whether nobody is admitted any more."""
        return self._admission.closed

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
        self.view.now = now
        return self._admission.admit(request, self.reserve_s, tag)

    def check(self, request: Request, now: float) -> None:
        """Refuses what would be refused now; a request that passes is counted when it is submitted.

        Raises:
            Overloaded, ValueError: as `submit`.
        """
        self.view.now = now
        self._admission.check(request, self.reserve_s)

    def next_work(self, now: float) -> Work | None:
        """What a free worker runs; None for nothing until something happens, or until `wake_at`."""
        view = self.view
        view.now, self._wait_until = now, None
        self._borders.sweep(closing=self.closing)
        if len(view.running) >= view.workers:
            return None
        choice = self.policy.choose(view)
        if isinstance(choice, Start) and len(view.paused) + len(view.running) >= view.states:
            choice = self._borders.make_state(choice)
        if isinstance(choice, Wait):
            self._wait_until = choice.until
            return None
        if choice is None:
            return None
        work = self._begun(choice)
        view.running.append(work)
        view.version += 1
        if len(view.running) == view.workers:
            self._borders.nobody_is_free()
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
        self._borders.sweep(closing=self.closing)

    def failed(self, work: Work, now: float, error: Exception) -> None:
        """A segment failed: so do its jobs."""
        self.view.now = now
        self.view.running.remove(work)
        self._ends.over(work.group)
        for job in work.group.jobs:
            if job.cancelled:
                self._ends.drop(job, "cancelled")
            else:
                self._ends.end(Broken(job, error))

    def cancel(self, job: Job, now: float) -> None:
        """A client went away: the job ends, at the next border if it runs. Again does nothing."""
        if job.ended or job.cancelled:
            return
        self.view.now = now
        job.cancelled = True
        if job in self.view.waiting:
            self.view.waiting.remove(job)
            self._ends.drop(job, "cancelled")
        else:
            self._borders.sweep(closing=self.closing)

    def close(self, now: float) -> None:
        """Admits nobody any more; who waits is refused, who has begun is answered."""
        self._admission.closed = True
        self.view.now = now
        for job in list(self.view.waiting):
            self.view.waiting.remove(job)
            self._ends.drop(job, "closing", 1.0)
        self._borders.sweep(closing=self.closing)

    def abandon(self, error: Exception) -> list[Outcome]:
        """Ends everybody who waits between two segments: no worker will come any more."""
        for group in list(self.view.paused):
            for job in group.jobs:
                self._ends.end(Broken(job, error))
            self._ends.retire(group)
        return self.outcomes()

    def outcomes(self) -> list[Outcome]:
        """Who has ended since this was last asked."""
        return self._ends.outcomes()

    def groups_over(self) -> list[Group]:
        """The groups that nobody goes on with since this was last asked: their memory can be given back."""
        return self._ends.groups_over()

    @property
    def has_outcomes(self) -> bool:
        """Whether `outcomes` has something to tell."""
        return bool(self._ends)

    def wake_at(self) -> float | None:
        """When to ask `next_work` again though nothing happened; None for never."""
        found = [group.due for group in self.view.paused if group.due < math.inf]
        found += [] if self._wait_until is None else [self._wait_until]
        first = self.view.waiting.first
        found += [first.due] if first is not None and first.due < math.inf else []
        return min(found, default=None)

    # --- inside ---------------------------------------------------------------------------------------

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
