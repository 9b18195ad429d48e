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


def too_late_s(view: View, job: Job, need: Need) -> float | None:
    """None if a new job fits in; else how many seconds too late somebody would be.

    Workers take the queue in its order, `need` seconds a job: a job begins when the work before it is done.
    It fits in if it is in time itself, and nobody of its priority or above comes to be late for it.
    """
    rate = 1 / view.workers
    before = view.now + busy_s(view) * rate
    own, key, over = need(job), job.key, -1.0
    placed = False
    for other in view.waiting:
        if not placed and key < other.key:
            over = before + own - job.due
            if over > 0:
                return over
            placed = True
            before += own * rate
        takes = need(other)
        if placed and other.priority >= job.priority:
            late = before + takes - other.due
            # Who was late anyway is no reason to refuse another.
            if 0 < late <= own * rate:
                return late
        before += takes * rate
    if not placed:
        over = before + own - job.due
    return over if over > 0 else None
