"""Whether everybody who waits can be in time with so much work each: what admission rests on."""

from __future__ import annotations

from collections.abc import Callable

from anytimenet.serving.scheduling.jobs import Job
from anytimenet.serving.scheduling.policies.policy import View

Need = Callable[[Job], float]
"""Seconds of work that a job needs from a worker of its own."""


def busy_s(view: View) -> float:
    """Seconds of work under way, as expected."""
    return sum(max(0.0, work.ends - view.now) for work in view.running)


def stretch(view: View) -> float:
    """How much longer work takes because requests on their way in and out take from the same cores."""
    taken = view.arrivals.rate(view.now) * view.costs.overhead_s / view.workers
    return 1 / (1 - min(taken, _MOST_TAKEN))


_MOST_TAKEN = 0.75


def too_late_s(view: View, job: Job, need: Need, alone: Need | None = None) -> float | None:
    """None if a new job fits in; else how many seconds too late somebody would be.

    Workers take the queue in its order, `need` seconds a job: a job begins when the work before it is done.
    It fits in if it is in time itself, and nobody comes to be late for it. What requests to come may take
    from the same cores is left out: refused is who cannot be in time, and nothing is done for who waits.

    Args:
        view: the scheduler.
        job: the new one.
        need: work that a job is.
        alone: seconds from its begin to its end, where that is more: in a batch.
    """
    rate, lasts = 1 / view.workers, need if alone is None else alone
    own, key = need(job), job.key
    begins, placed = view.now + busy_s(view) * rate, False
    for other in view.waiting:
        if not placed and key < other.key:
            if (late := begins + lasts(job) - job.due) > 0:
                return late
            placed, begins = True, begins + own * rate
        if placed:
            late = begins + lasts(other) - other.due
            if 0 < late <= own * rate:  # who was late anyway is no reason to refuse another
                return late
        begins += need(other) * rate
    if not placed and (late := begins + lasts(job) - job.due) > 0:
        return late
    return None
