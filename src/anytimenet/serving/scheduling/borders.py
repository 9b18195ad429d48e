"""What happens at the border of a segment: who is answered, and who leaves with what stands."""

from __future__ import annotations

from anytimenet.core.errors import NotFiniteError
from anytimenet.serving.scheduling.ends import Ends
from anytimenet.serving.scheduling.jobs import Broken
from anytimenet.serving.scheduling.policies.policy import Continue, Policy, Start, View


class Borders:
    """Ends whoever is over, whenever a segment has ended or something has come.

    Args:
        view: of the scheduler.
        policy: that says who goes on.
        ends: where they go.
    """

    def __init__(self, view: View, policy: Policy, ends: Ends) -> None:
        self._view, self._policy, self._ends = view, policy, ends

    def sweep(self, *, closing: bool = False) -> None:
        """Ends whoever is over: gone, out of time, or answered well enough."""
        view = self._view
        now, waiting = view.now, view.waiting
        while (first := waiting.first) is not None and (
            first.due <= now or self._policy.hopeless(view, first)
        ):
            waiting.remove(first)
            self._ends.drop(first, "expired", self._ends.a_moment())
        last = self._view.costs.stages[-1]
        for group in list(view.paused):
            for job in list(group.jobs):
                if job.cancelled:
                    group.leave(job)
                    self._ends.drop(job, "cancelled")
                elif job.answered and (
                    group.stage == last or job.due <= now or closing or self._policy.ends(view, group, job)
                ):
                    self._ends.answer(group, job)
                elif group.stage == last:
                    group.leave(job)
                    self._ends.end(Broken(job, NotFiniteError.of_stage(last)))
            if not group.jobs:
                self._ends.retire(group)

    def nobody_is_free(self) -> None:
        """Whoever would be late by the time that a worker is free leaves with what stands."""
        view = self._view
        free_at = min(work.ends for work in view.running)
        for group in list(view.paused):
            for job in [job for job in group.jobs if job.answered and job.due < free_at]:
                self._ends.answer(group, job)
            if not group.jobs:
                self._ends.retire(group)

    def make_state(self, wanted: Start) -> Start | Continue:
        """No memory for another state: whoever is answered leaves, else one goes on that is not."""
        view = self._view
        for group in sorted(view.paused, key=lambda each: each.order):
            if all(job.answered for job in group.jobs):
                for job in list(group.jobs):
                    self._ends.answer(group, job)
                self._ends.retire(group)
                return wanted
        group = min(view.paused, key=lambda each: each.order)
        least = max(job.least for job in group.jobs)
        start, stop = self._view.costs.way(group.stage, max(least, group.stage + 1))[0]
        return Continue(group, start, stop)
