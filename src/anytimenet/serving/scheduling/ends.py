"""How requests end: each exactly once, with the memory of groups that are over."""

from __future__ import annotations

from anytimenet.serving.request import Reason
from anytimenet.serving.scheduling.jobs import Answered, Dropped, Group, Job, Outcome
from anytimenet.serving.scheduling.policies.policy import Policy, View


class Ends:
    """Collects who has ended until somebody asks, and tells the policy.

    Args:
        view: of the scheduler.
        policy: that learns of misses and answers.
    """

    def __init__(self, view: View, policy: Policy) -> None:
        self._view, self._policy = view, policy
        self._ended: list[Outcome] = []
        self._over: list[Group] = []

    def __bool__(self) -> bool:
        return bool(self._ended)

    def outcomes(self) -> list[Outcome]:
        """Who has ended since this was last asked."""
        ended, self._ended = self._ended, []
        return ended

    def groups_over(self) -> list[Group]:
        """The groups that are over since this was last asked."""
        over, self._over = self._over, []
        return over

    def a_moment(self) -> float:
        """Seconds until the queue has moved on by some places."""
        costs = self._view.costs
        return max(10 * costs.seconds(0, costs.stages[0]) / self._view.workers, 0.01)

    def drop(self, job: Job, reason: Reason, retry_after_s: float = 0.0) -> None:
        """A job ends without an answer."""
        if reason in ("overload", "expired"):
            self._policy.dropped(self._view, job)
        self.end(Dropped(job, reason, retry_after_s))

    def answer(self, group: Group, job: Job) -> None:
        """A job leaves its group with the answer that stands."""
        group.leave(job)
        self.end(Answered(job, job.standing))

    def end(self, outcome: Outcome) -> None:
        """A job ends."""
        job, view = outcome.job, self._view
        job.ended = True
        view.version += 1
        if isinstance(outcome, Answered):
            (self._policy.answered if view.now <= job.due else self._policy.dropped)(view, job)
        self._ended.append(outcome)

    def retire(self, group: Group) -> None:
        """A paused group that nobody is in any more."""
        self._view.paused.remove(group)
        self.over(group)

    def over(self, group: Group) -> None:
        """Nobody goes on with a group: its memory can be given back."""
        self._over.append(group)
