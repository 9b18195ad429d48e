"""Always the same stage: what servers of fixed networks do, with and without refusal."""

from __future__ import annotations

from anytimenet.serving.scheduling.jobs import Group, Job
from anytimenet.serving.scheduling.policies.feasible import too_late_s
from anytimenet.serving.scheduling.policies.policy import Continue, Start, View, Wait


class FixedStage:
    """Every request runs to one stage in one go, earliest deadline first, alone.

    Args:
        full: the best validated stage; else the first that a request allows.
        refuse: refuse at admission, and drop from the queue, what would not be in time.
    """

    def __init__(self, *, full: bool, refuse: bool) -> None:
        self._full, self._refuse = full, refuse

    def refusal_s(self, view: View, job: Job) -> float | None:
        """None, or how late it would be."""
        return too_late_s(view, job, lambda each: self._takes(view, each)) if self._refuse else None

    def hopeless(self, view: View, job: Job) -> bool:
        """Whether it would end late for sure."""
        return self._refuse and view.now + self._takes(view, job) > job.due

    def ends(self, view: View, group: Group, job: Job) -> bool:
        """As soon as its stage is there."""
        return group.stage >= self._stage(view, job)

    def choose(self, view: View) -> Start | Continue | Wait | None:
        """Who has begun goes on; then the most urgent."""
        for group in view.paused:
            return onward(view, group)
        first = view.waiting.first
        if first is None:
            return None
        goal = self._stage(view, first)
        return Start([first], view.costs.jump(0, goal)[1], goal)

    def dropped(self, view: View, job: Job) -> None:
        """Changes nothing."""

    def answered(self, view: View, job: Job) -> None:
        """Changes nothing."""

    def _stage(self, view: View, job: Job) -> int:
        return max(view.costs.best, job.least) if self._full else job.least

    def _takes(self, view: View, job: Job) -> float:
        return view.costs.seconds(0, self._stage(view, job))


def onward(view: View, group: Group) -> Continue:
    """The next segment of a group towards its goal; further, if nobody can be answered there."""
    least = max(job.least for job in group.jobs)
    stages = [stage for stage in view.costs.stages if stage > group.stage]
    goal = max(group.goal, least)
    stop = next((stage for stage in stages if stage >= goal), stages[-1])
    return Continue(group, *view.costs.jump(group.stage, stop))
