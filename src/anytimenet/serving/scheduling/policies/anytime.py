"""Accuracy scaling: every millisecond goes where it buys the most accuracy, over everybody who waits."""

from __future__ import annotations

import math

from anytimenet.serving.scheduling.jobs import Group, Job
from anytimenet.serving.scheduling.policies.feasible import busy_s, too_late_s
from anytimenet.serving.scheduling.policies.policy import Continue, Start, View, Wait


class Anytime:
    """Depth first is given up, then admission; see `docs/concepts/serving.md`."""

    def refusal_s(self, view: View, job: Job) -> float | None:
        """None if everybody can have an answer; else how late somebody would be."""
        return too_late_s(view, job, lambda each: view.costs.seconds(0, each.least))

    def hopeless(self, view: View, job: Job) -> bool:
        """Whether not even its least stage would be in time."""
        return view.now + view.costs.seconds(0, job.least) > job.due

    def ends(self, view: View, group: Group, job: Job) -> bool:
        """Whether nothing further is worth its time, or fits into it."""
        return self._next(view, group, job) is None

    def choose(self, view: View) -> Start | Continue | Wait | None:
        """Goes on with who has begun where those who wait can afford that; else the most urgent."""
        first = view.waiting.first
        for group in reversed(view.paused):
            urgent = [job for job in group.jobs if not job.answered]
            stop = self._next(view, group, urgent[0] if urgent else group.jobs[0])
            if stop is None:
                continue
            segment = view.costs.way(group.stage, stop)[0]
            takes = view.costs.seconds(*segment)
            if first is None or urgent or view.now + takes + view.costs.seconds(0, first.least) <= first.due:
                return Continue(group, *segment)
        if first is None:
            return None
        return Start([first], view.costs.way(0, first.least)[0][1])

    def dropped(self, view: View, job: Job) -> None:
        """Changes nothing."""

    def answered(self, view: View, job: Job) -> None:
        """Changes nothing."""

    def _next(self, view: View, group: Group, job: Job) -> int | None:
        costs = view.costs
        if not job.answered:
            return max(job.least, group.stage + 1)
        price = self.price(view)
        target = None
        for up in costs.upgrades(group.stage):
            if up.slope <= price or view.now + costs.sure_seconds(group.stage, up.stop) > job.due:
                break
            target = up.stop
        return target

    def price(self, view: View) -> float:
        """Accuracy per second that a second is worth to those who wait; 0 where there is time for all."""
        costs = view.costs
        rate = view.arrivals.rate(view.now)
        waiting = len(view.waiting)
        allowed = view.arrivals.allowed_s
        if allowed == math.inf:
            return 0.0
        horizon = allowed
        capacity = (view.workers * horizon - busy_s(view)) / costs.slow * 0.9
        requests = waiting + rate * max(horizon, 0.0)
        if requests <= 0:
            return 0.0
        spare = capacity / requests
        for up in costs.upgrades(0):
            spare -= up.seconds
            if spare < 0:
                return up.slope
        return 0.0
