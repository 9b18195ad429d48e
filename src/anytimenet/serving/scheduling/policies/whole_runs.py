"""What policies have in common that choose a stage once, when a run begins."""

from __future__ import annotations

from anytimenet.serving.scheduling.jobs import Group, Job
from anytimenet.serving.scheduling.policies.fixed import onward
from anytimenet.serving.scheduling.policies.policy import Continue, Start, View, Wait


class WholeRuns:
    """Nobody is refused, who has begun goes on to the stage that was chosen, and a run has one answer.

    A policy says with `start` what begins where nobody goes on.
    """

    def refusal_s(self, view: View, job: Job) -> float | None:
        """Nobody is refused."""
        return None

    def hopeless(self, view: View, job: Job) -> bool:
        """Whether not even its least stage would be in time."""
        return view.now + view.costs.seconds(0, job.least) > job.due

    def ends(self, view: View, group: Group, job: Job) -> bool:
        """A run has one answer."""
        return group.stage >= group.goal

    def choose(self, view: View) -> Start | Continue | Wait | None:
        """Who has begun and is not answered, such as by a stage that gave no numbers; else what begins."""
        for group in view.paused:
            return onward(view, group)
        return self.start(view) if view.waiting else None

    def start(self, view: View) -> Start:
        """What begins, of the one or more that wait."""
        raise NotImplementedError

    def dropped(self, view: View, job: Job) -> None:
        """Changes nothing."""

    def answered(self, view: View, job: Job) -> None:
        """Changes nothing."""
