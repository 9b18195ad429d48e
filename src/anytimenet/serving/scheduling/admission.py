"""Who is admitted: whoever can have the least answer in time behind those that wait."""

from __future__ import annotations

import math

from anytimenet.serving.request import Overloaded, Request
from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.ends import Ends
from anytimenet.serving.scheduling.jobs import PATIENCE_S, Job
from anytimenet.serving.scheduling.policies.policy import Policy, View


class Admission:
    """Makes jobs of requests, and refuses those that cannot be in time, at once and before any work.

    Args:
        view: of the scheduler.
        policy: that says who fits in.
        ends: of those who lose their place to a higher priority.
        queue_limit: requests that wait at most.

    Attributes:
        closed: whether nobody is admitted any more.
    """

    def __init__(self, view: View, policy: Policy, ends: Ends, queue_limit: int) -> None:
        self._view, self._policy, self._ends, self._limit = view, policy, ends, queue_limit
        self._count = 0
        self.closed = False

    def admit(self, request: Request, reserve_s: float, tag: object) -> Job:
        """Puts a request into the queue; see `Scheduler.submit`."""
        view = self._view
        job = self._job(request, reserve_s, tag)
        self._came(job)
        if self.closed:
            raise Overloaded(1.0, "closing")
        if job.due - view.now < view.costs.seconds(0, job.least):
            self._policy.dropped(view, job)
            raise Overloaded(0.0, "expired")
        self._make_room(job)
        self._count += 1
        view.waiting.add(job)
        view.version += 1
        return job

    def check(self, request: Request, reserve_s: float) -> None:
        """Refuses what would be refused now; see `Scheduler.check`."""
        view = self._view
        job = self._job(request, reserve_s)
        refused = self._refusal(job)
        if refused is not None:
            self._came(job)
            self._policy.dropped(view, job)
            raise refused

    def _refusal(self, job: Job) -> Overloaded | None:
        view = self._view
        if self.closed:
            return Overloaded(1.0, "closing")
        if job.due == math.inf:
            return None
        if job.due - view.now < view.costs.seconds(0, job.least):
            return Overloaded(0.0, "expired")
        if any(other.priority < job.priority for other in view.waiting):
            return None
        wait_s = self._policy.refusal_s(view, job)
        return None if wait_s is None else Overloaded(wait_s)

    def _job(self, request: Request, reserve_s: float, tag: object = None) -> Job:
        least, deadline = least_stage(self._view.costs, request), request.deadline
        due = math.inf if deadline is None else deadline - reserve_s
        order = request.arrived + PATIENCE_S if deadline is None else deadline
        return Job(self._count, request, least, due, order, tag=tag)

    def _came(self, job: Job) -> None:
        now, deadline = self._view.now, job.request.deadline
        self._view.arrivals.came(now, math.inf if deadline is None else deadline - now)

    def _make_room(self, job: Job) -> None:
        """Raises Overloaded unless the job can be admitted, at the cost of lower priorities if it must be."""
        view = self._view
        lower = sorted(
            (other for other in view.waiting if other.priority < job.priority),
            key=lambda other: (other.priority, -other.order, -other.number),
        )
        out: list[Job] = []
        while True:
            wait_s = 0.0 if len(view.waiting) < self._limit else self._ends.a_moment()
            if not wait_s:
                refused = self._policy.refusal_s(view, job)
                if refused is None:
                    break
                wait_s = refused
            if not lower:
                for other in out:
                    view.waiting.add(other)
                self._policy.dropped(view, job)
                raise Overloaded(wait_s)
            out.append(lower.pop(0))
            view.waiting.remove(out[-1])
        for other in out:
            self._ends.drop(other, "overload", self._ends.a_moment())


def least_stage(costs: Costs, request: Request) -> int:
    """The quickest stage that is good enough for a request.

    Raises:
        ValueError: for a stage or an accuracy that this net does not have.
    """
    least = costs.least_stage(request.min_stage, request.min_accuracy)
    if least is not None:
        return least
    if request.min_stage > costs.stages[-1]:
        raise ValueError(f"min_stage {request.min_stage}: this net has {costs.stages[-1]} stages")
    raise ValueError(
        f"min_accuracy {request.min_accuracy}: no stage from {request.min_stage} on has that validated "
        f"accuracy; they have {[costs.validated[stage - 1] for stage in costs.stages]}"
    )
