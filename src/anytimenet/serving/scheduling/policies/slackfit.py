"""SlackFit: the sub-network and batch that fill the slack of the most urgent request."""

from __future__ import annotations

from itertools import islice

from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.policies.policy import Start, View
from anytimenet.serving.scheduling.policies.whole_runs import WholeRuns

_BUCKETS = 32

Pair = tuple[float, int, int]
"""Seconds, batch and stage."""


class SlackFit(WholeRuns):
    """SuperServe's policy (Khare et al., NSDI 2025), written from its description.

    Pairs of batch size and sub-network lie in buckets of equal width by their latency. A free worker takes
    the bucket that is closest below the slack of the most urgent request, and of it the largest batch, then
    the most accurate sub-network. Where nothing fits into the slack, the quickest pair.
    """

    def __init__(self) -> None:
        self._pairs: list[Pair] = []
        self._of: tuple[Costs, float] | None = None

    def start(self, view: View) -> Start:
        """What fills the slack."""
        first = view.waiting.first
        assert first is not None
        slack, waiting = first.due - view.now, len(view.waiting)
        stage, batch = self._chosen(view, slack, waiting, first.least)
        return Start(list(islice(view.waiting, batch)), view.costs.jump(0, stage)[1], stage)

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
