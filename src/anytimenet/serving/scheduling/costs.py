"""What the scheduler knows of a net: what each stage is worth, and what segments take here and now."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from anytimenet.core.answers.standing import Validated, standing_stage
from anytimenet.core.errors import CostTableError
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.runtime.paths import path_to
from anytimenet.runtime.planning.latencies import MEDIAN
from anytimenet.runtime.planning.objective import stage_values
from anytimenet.runtime.planning.plan import Path, Segment
from anytimenet.runtime.planning.plan_table import PlanTable
from anytimenet.runtime.planning.planner import Planner
from anytimenet.runtime.planning.slowdown import Estimate, Slowdown

_SURE = 3
"""Place of the 99 % quantile among the times of a segment."""
_WORTH_IT = 0.9
_LARGEST_BATCH = 256
"""A batch runs only where an image of it takes no more than that of what it takes alone."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """To go on from a stage to a later one.

    Attributes:
        stop: the later stage.
        gain: validated accuracy that it adds.
        seconds: that it takes on the machine as it was profiled.
    """

    stop: int
    gain: float
    seconds: float

    @property
    def slope(self) -> float:
        """Accuracy per second."""
        return self.gain / self.seconds if self.seconds > 0 else math.inf


class Costs:
    """Worth and time of the stages of a net, as slow as the machine is now.

    Args:
        table: what segments take on this machine.
        validated: scores of stages 1..K; where none was validated, later is better (`stage_values`).
        segments: those that can be run; None for all of the table.
        counted: multiply-adds of sub-networks 1..K, for nets that were not validated.
        chance: score of a guess.
        slowdown: to share with others; by default one of its own.

    Attributes:
        begin_s: that a request takes its worker beside its segments: its image, decisions, its prediction.
        overhead_s: that a request takes the workers' cores beside that, on its way in and out.

    Raises:
        CostTableError: if no segment from the input was measured, or batches of one were not.

    >>> from anytimenet.core.manifest.cost_table import Latency
    >>> table = CostTable("cpu", {"id": "here"}, "float32", 1, (3, 32, 32), {
    ...     (0, 1, 1): Latency(1.0, 1.1, 1.2, repeats=50), (0, 2, 1): Latency(5.0, 5.1, 5.2, repeats=50),
    ...     (1, 2, 1): Latency(4.0, 4.1, 4.2, repeats=50)})
    >>> costs = Costs(table, (0.7, 0.9))
    >>> costs.seconds(0, 2), [(up.stop, up.seconds) for up in costs.upgrades(1)]
    (0.005, [(2, 0.004)])
    """

    def __init__(
        self,
        table: CostTable,
        validated: Validated,
        *,
        segments: Collection[Segment] | None = None,
        counted: Sequence[float] | None = None,
        chance: float = 0.0,
        slowdown: Slowdown | None = None,
    ) -> None:
        self.slowdown = Slowdown() if slowdown is None else slowdown
        self.overhead_s = self.begin_s = 0.0
        self.validated = tuple(validated)
        self.values = stage_values(validated, counted, chance=chance)
        self._plans: dict[int, PlanTable] = {}
        self._base: dict[tuple[int, int, int], float] = {}
        for batch in table.batch_sizes:
            try:
                planner = Planner(
                    table,
                    validated,
                    segments=segments,
                    batch=batch,
                    chance=chance,
                    counted=counted,
                    slowdown=self.slowdown,
                )
            except CostTableError:  # of this size too little was measured
                continue
            self._plans[batch] = PlanTable(planner)
            for start, ways in planner.times_at(Estimate()).items():
                for stop, times in ways:
                    self._base[start, stop, batch] = times[MEDIAN] / 1000
        if 1 not in self._plans:
            raise CostTableError(
                "serving needs latencies of one image alone, and the cost table has none from the input: "
                "profile with batch size 1"
            )
        self.segments = frozenset(self._plans[1].segments)
        self.stages = tuple(sorted({stop for start, stop in self._reachable()}))
        self._ways = {(a, b): self._quickest(a, b) for b in self.stages for a in (0, *self.stages) if a < b}
        self._seconds = {
            pair: sum(self._base[a, b, 1] for a, b in way) for pair, way in self._ways.items() if way
        }
        self._upgrades = {stage: tuple(self._hull(stage)) for stage in (0, *self.stages)}
        self.best = standing_stage(self.stages, validated) or self.stages[-1]
        self._of_batch: dict[tuple[int, int, int], float] = {}
        self._together = self._worth_together()
        self._sure_at: Estimate | None = None
        self._sure: dict[Segment, float] = {}

    @property
    def num_stages(self) -> int:
        """K."""
        return len(self.values)

    @property
    def slow(self) -> float:
        """How many times slower the machine is now than when it was profiled."""
        return self.slowdown.mean

    def value(self, stage: int) -> float:
        """What the answer of a stage is worth; 0 for none."""
        return self.values[stage - 1] if stage else 0.0

    def stands(self, standing: int, finished: int) -> int:
        """The stage whose answer stands once `finished` is there beside `standing`."""
        return standing_stage((standing, finished) if standing else (finished,), self.validated) or 0

    def way(self, start: int, stop: int) -> Path:
        """The quickest segments from `start` to `stop`; of equal ones the finest steps.

        A net that cannot go on from `start` begins at the input again. Empty where nothing leads there.
        """
        return self._ways.get((start, stop), ())

    def jump(self, start: int, stop: int) -> Segment:
        """The first segment of the shortest path to `stop`: for who has no use for stages between."""
        return (start, stop) if (start, stop) in self.segments else self.way(start, stop)[0]

    def seconds(self, start: int, stop: int, batch: int = 1) -> float:
        """Expected time from `start` to `stop`, as slow as the machine is now; infinite where none leads.

        Between two measured sizes of a batch on a line, beyond the largest in proportion to it.
        """
        base = self._seconds.get((start, stop), math.inf)
        if batch > 1:
            base = self._batch_seconds(start, stop, batch)
        found = base * self.slowdown.mean
        return found if start else found + batch * self.begin_s

    def sure_seconds(self, start: int, stop: int, batch: int = 1) -> float:
        """Time within which 99 of 100 such runs end."""
        estimate = self.slowdown.estimate
        if estimate is not self._sure_at:
            times = self._plans[1].planner.times_at(estimate)
            every = {(a, b): each[_SURE] / 1000 for a, ways in times.items() for b, each in ways}
            self._sure = {pair: sum(every[each] for each in way) for pair, way in self._ways.items() if way}
            self._sure_at = estimate
        sure = self._sure.get((start, stop), math.inf)
        if batch > 1 and sure < math.inf:
            sure *= self._batch_seconds(start, stop, batch) / self._seconds[start, stop]
        return sure if start else sure + batch * self.begin_s

    @property
    def most_together(self) -> int:
        """The largest batch that is worth while; 1 if none is."""
        return self._together[-1]

    def together(self, size: int) -> int:
        """The largest batch of at most `size` that is worth while, or 1.

        It is where an image takes a tenth less in it than alone.
        """
        return self._together[bisect_right(self._together, size) - 1]

    def together_beyond(self, size: int) -> int:
        """The next larger batch that is worth while; the largest where none is larger."""
        return self._together[min(bisect_right(self._together, size), len(self._together) - 1)]

    def upgrades(self, stage: int) -> tuple[Upgrade, ...]:
        """Where to go on from `stage` (0: the input): steepest first, each on from the one before it.

        The upper hull of accuracy over time: any other stage is a worse bargain than one of these.
        """
        return self._upgrades[stage]

    def planner(self, batch: int = 1) -> PlanTable:
        """What plans runs of so many images before their own deadline."""
        return self._plans[batch]

    def observe(self, start: int, stop: int, batch: int, elapsed_s: float) -> None:
        """A segment took that long: the running slowdown learns from it."""
        plans = self._plans.get(batch)
        if plans is not None:
            plans.observe(start, stop, 1000 * elapsed_s)

    def least_stage(self, min_stage: int, min_accuracy: float | None) -> int | None:
        """The quickest stage that is good enough; None if there is none."""
        good = [
            stage
            for stage in self.stages
            if stage >= min_stage
            and (min_accuracy is None or (self.validated[stage - 1] or 0.0) >= min_accuracy)
        ]
        return min(good, key=lambda stage: self._seconds[0, stage], default=None)

    def _reachable(self) -> set[Segment]:
        reached, found = {0}, set()
        for start, stop in sorted(self.segments, key=lambda pair: pair[1]):
            if start in reached:
                reached.add(stop)
                found.add((start, stop))
        return found

    def _quickest(self, start: int, stop: int) -> Path:
        """By dynamic programming over the stages between; a tie goes to more segments."""
        best: dict[int, tuple[float, Path]] = {start: (0.0, ())}
        for stage in range(start + 1, stop + 1):
            for before, (spent, way) in list(best.items()):
                if (before, stage) not in self.segments:
                    continue
                found = spent + self._base[before, stage, 1], (*way, (before, stage))
                known = best.get(stage)
                if known is None or (found[0], -len(found[1])) < (known[0] * _SAME, -len(known[1])):
                    best[stage] = found
        if stop in best:
            return best[stop][1]
        return path_to(stop, 0, start, self.segments) if self._leads(stop) else ()

    def _leads(self, stop: int) -> bool:
        return any(pair[1] == stop and pair[0] == 0 for pair in self.segments)

    def _hull(self, stage: int) -> list[Upgrade]:
        """The steepest stage ahead, and from there again."""
        found: list[Upgrade] = []
        at = stage
        while True:
            ahead = [
                Upgrade(stop, self.value(stop) - self.value(at), self._seconds[stage, stop] - spent)
                for stop in self.stages
                for spent in [self._seconds.get((stage, at), 0.0)]
                if stop > at and (stage, stop) in self._seconds and self.value(stop) > self.value(at)
            ]
            ahead = [up for up in ahead if up.seconds > 0] or ahead
            if not ahead:
                return found
            found.append(max(ahead, key=lambda up: (up.slope, up.stop)))
            at = found[-1].stop

    def _batch_seconds(self, start: int, stop: int, batch: int) -> float:
        """As profiled."""
        found = self._of_batch.get((start, stop, batch))
        if found is None:
            way = self.way(start, stop)
            found = sum(self._between(pair, batch) for pair in way) if way else math.inf
            self._of_batch[start, stop, batch] = found
        return found

    def _between(self, pair: Segment, batch: int) -> float:
        known = sorted(size for start, stop, size in self._base if (start, stop) == pair)
        if batch >= known[-1]:
            return self._base[(*pair, known[-1])] * batch / known[-1]
        above = bisect_right(known, batch)
        low, high = known[above - 1], known[above]
        share = (batch - low) / (high - low)
        return (1 - share) * self._base[(*pair, low)] + share * self._base[(*pair, high)]

    def _worth_together(self) -> tuple[int, ...]:
        """Sizes, rising from 1, at which an image takes a tenth less in a batch than alone, to stage 1."""
        first = self.stages[0]
        alone = self._seconds[0, first]
        known = [size for start, stop, size in self._base if (start, stop) == (0, first)]
        sizes = range(2, min(max(known), _LARGEST_BATCH) + 1)
        gains = [size for size in sizes if self._batch_seconds(0, first, size) <= _WORTH_IT * alone * size]
        return (1, *gains)

    @property
    def batches(self) -> tuple[int, ...]:
        """Sizes that were measured and are worth while, rising from 1."""
        return tuple(size for size in sorted(self._plans) if size in self._together)


_SAME = 1 + 1e-9
