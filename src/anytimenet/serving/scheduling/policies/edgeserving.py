"""EdgeServing's rule: throughput of accuracy against a virtual queue of misses."""

from __future__ import annotations

from itertools import islice

from anytimenet.serving.scheduling.jobs import Job
from anytimenet.serving.scheduling.policies.policy import Start, View
from anytimenet.serving.scheduling.policies.whole_runs import WholeRuns


class EdgeServing(WholeRuns):
    """A Lyapunov rule over exit and batch, written from its formula.

    A free worker takes the exit e and the batch B that maximise Q B acc(e) / t(e, B) - w Z violations + Z B
    target, with Q requests in the queue, and of them so many violations: whoever would be late if the choice
    were run first, in the batch or after it. Z is a virtual queue of misses beyond the share `target`.

    Args:
        weight: w.
        target: share of requests that may miss their deadline.
    """

    def __init__(self, weight: float = 1.0, target: float = 0.01) -> None:
        self._weight, self._target = weight, target
        self.misses = 1.0

    def start(self, view: View) -> Start:
        """The exit and the batch of the highest score."""
        costs, queue = view.costs, list(view.waiting)
        best = (float("-inf"), 0, 0)
        for batch in costs.batches:
            if batch > len(queue):
                break
            for stage in costs.stages:
                if stage >= queue[0].least:
                    best = max(best, (self._score(view, queue, stage, batch), stage, batch))
        _, stage, batch = best
        return Start(list(islice(queue, batch)), costs.jump(0, stage)[1], stage)

    def dropped(self, view: View, job: Job) -> None:
        """A miss."""
        self.misses = max(0.0, self.misses + 1 - self._target)

    def answered(self, view: View, job: Job) -> None:
        """None."""
        self.misses = max(0.0, self.misses - self._target)

    def _score(self, view: View, queue: list[Job], stage: int, batch: int) -> float:
        costs = view.costs
        takes = costs.seconds(0, stage, batch)
        over, first = view.now + takes, costs.seconds(0, costs.stages[0])
        violations = sum(
            (over if place < batch else over + first) > job.due for place, job in enumerate(queue)
        )
        throughput = len(queue) * batch * costs.value(stage) / (1000 * takes)
        return throughput - self._weight * self.misses * violations + self.misses * batch * self._target
