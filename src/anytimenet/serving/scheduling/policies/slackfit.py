"""SlackFit: the sub-network and batch that fill the slack of the most urgent request."""

from __future__ import annotations

from itertools import islice

from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.jobs import Group, Job
from anytimenet.serving.scheduling.policies.fixed import onward
from anytimenet.serving.scheduling.policies.policy import Continue, Start, View, Wait

_BUCKETS = 32

Pair = tuple[float, int, int]
"""Seconds, batch and stage."""


class SlackFit:
    """SuperServe's policy (Khare et al., NSDI 2025), written from its description.

    Pairs of batch size and sub-network lie in buckets of equal width by their latency. A free worker takes
    the bucket that is closest below the slack of the most urgent request, and of it the largest batch, then
    the most accurate sub-network. Where nothing fits into the slack, the quickest pair.
    """

    def __init__(self) -> None:
        self._pairs: list[Pair] = []
        self._of: tuple[Costs, float] | None = None

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
        """What fills the slack."""
        for group in view.paused:  # a stage that gave no numbers, or is less than was asked for
            return onward(view, group)
        first = view.waiting.first
        if first is None:
            return None
        slack, waiting = first.due - view.now, len(view.waiting)
        stage, batch = self._chosen(view, slack, waiting, first.least)
        return Start(list(islice(view.waiting, batch)), view.costs.jump(0, stage)[1], stage)

    def dropped(self, view: View, job: Job) -> None:
        """Changes nothing."""

    def answered(self, view: View, job: Job) -> None:
        """Changes nothing."""

    def _chosen(self, view: View, slack: float, waiting: int, least: int) -> tuple[int, int]:
        pairs = [pair for pair in self._known(view.costs) if pair[1] <= waiting and pair[2] >= least]
        width = max(pair[0] for pair in self._pairs) / _BUCKETS
        fits = [pair for pair in pairs if pair[0] <= slack]
        if not fits:
            _, batch, stage = min(pairs)
            return stage, batch
        bucket = max(int(pair[0] / width) for pair in fits)
        best = max(
            (pair for pair in fits if int(pair[0] / width) == bucket),
            key=lambda pair: (pair[1], view.costs.value(pair[2])),
        )
        return best[2], best[1]

    def _known(self, costs: Costs) -> list[Pair]:
        now = costs, costs.slow
        if self._of != now:
            self._of = now
            self._pairs = [
                (costs.seconds(0, stage, batch), batch, stage)
                for stage in costs.stages
                for batch in costs.batches
            ]
        return self._pairs
