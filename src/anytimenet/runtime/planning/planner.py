"""The planner: from a cost table, validated accuracies and the time that is left to the segments to run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from anytimenet.core import checks
from anytimenet.core.answers.standing import Validated, standing_stage
from anytimenet.core.errors import CostTableError
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.runtime.planning.best_path import Aim, Label, best_path, fitting_paths
from anytimenet.runtime.planning.latencies import (
    FROM_TABLE,
    MEDIAN,
    Times,
    certain,
    chance_within,
    of_the_net,
)
from anytimenet.runtime.planning.objective import stage_values
from anytimenet.runtime.planning.plan import Path, Plan, Segment
from anytimenet.runtime.planning.slowdown import Estimate, Slowdown

VARIANTS = (*FROM_TABLE, "oracle")
"""What a plan may be made from, by name; see `Planner`."""

_Ways = dict[int, list[tuple[int, Times]]]

Actual = Callable[[int, int], float]
"""`actual(start, stop)`: milliseconds that the segment will take."""


class _Question(NamedTuple):
    """What a plan is asked for: `stands` is 0 where no answer stands, `floor` what is worth then."""

    aim: Aim
    start: int
    stands: int
    floor: float


class Planner:
    """Plans the segments of a run, from the start or from any stage on.

    A plan has the highest expected accuracy at the deadline (see `objective`) among the paths of the segments
    that may be planned whose probability of ending late is at most `late`; of equal ones the quickest: one
    jump when there is time enough, an earlier stage first where that is the better bet. Which answer stands
    is `core.answers.standing`. It is exact: no other path of these segments is better by the same reckoning.

    Variants:
        `mean`: medians of the cost table, as if they were certain.
        `p95`: its 95 % quantiles, as if they were certain.
        `slowdown`: those times the running slowdown of this machine.
        `alert`: all quantiles, as far as they tell of the net (`latencies.of_the_net`), and the distribution
            of the slowdown (Wan et al., "ALERT", USENIX ATC 2020).
        `oracle`: `actual` says what each segment will take; for benchmarks.

    Args:
        table: what segments take on this machine.
        validated: scores of stages 1..K, higher is better, None for one that was not validated; where none
            was, see `objective.stage_values`.
        segments: those that may be planned, as a backend prepares or a folder holds them; those without an
            entry in the table for batches of that size are left out. None for all of the table.
        variant: see above.
        batch: images of a run.
        resumes: false for a net that starts again at each stage: a segment (a, b) that is not in the table
            then takes as long as (0, b).
        late: the highest probability of ending after the deadline that is accepted.
        cut: the probability that the deadline comes before its time; above 0 finer steps may pay.
        chance: score of a guess, which counts where nothing is finished: 1 over the number of classes.
        counted: multiply-adds of sub-networks 1..K, for nets that were not validated.
        slowdown: a running estimate to share between planners of one machine; by default one of its own.
        actual: for `oracle`.

    Raises:
        TypeError, ValueError: for arguments out of range, or `oracle` without `actual`.
        CostTableError: if the table is of another net, or holds no segment to start with.

    >>> table = CostTable("cpu", {"id": "here"}, "float32", 1, (3, 32, 32), {
    ...     (0, 1, 1): Latency(1.0, 1.1, 1.2, repeats=50), (0, 2, 1): Latency(5.0, 5.1, 5.2, repeats=50),
    ...     (1, 2, 1): Latency(4.5, 4.6, 4.7, repeats=50)})
    >>> planner = Planner(table, (0.7, 0.9))
    >>> planner.plan(20).path, planner.plan(3).path, planner.plan(3, start=1).path
    (((0, 2),), ((0, 1),), ())
    >>> for _ in range(9):
    ...     planner.observe(0, 1, 5.0)  # the machine has become five times slower
    >>> planner.plan(20).path
    ((0, 1),)
    """

    def __init__(
        self,
        table: CostTable,
        validated: Validated,
        *,
        segments: Iterable[Segment] | None = None,
        variant: str = "alert",
        batch: int = 1,
        resumes: bool = True,
        late: float = 0.01,
        cut: float = 0.0,
        chance: float = 0.0,
        counted: Sequence[float] | None = None,
        slowdown: Slowdown | None = None,
        actual: Actual | None = None,
    ) -> None:
        self.variant = checks.choice(variant, "variant", VARIANTS)
        self.slowdown = Slowdown() if slowdown is None else slowdown
        self._values = stage_values(validated, counted, chance=checks.fraction(chance, "chance"))
        self._validated = tuple(validated)
        self._guess = min(chance, *self._values)
        self._late, self._cut = float(checks.fraction(late, "late")), float(checks.fraction(cut, "cut"))
        if (actual is None) == (variant == "oracle"):
            raise ValueError("the variant 'oracle', and no other, takes actual: a function of (start, stop)")
        self._actual = actual
        self._latencies = _planned(table, len(self._values), segments, batch, resumes)
        if variant == "alert":
            busy = any(each.unstable for each in self._latencies.values())  # medians and quickest do not mix
            self._latencies = {key: of_the_net(each, busy=busy) for key, each in self._latencies.items()}
        self._trusted = _trusted(self._latencies)
        self._outgoing: tuple[Estimate | None, _Ways] = (None, {})

    @property
    def num_stages(self) -> int:
        """K."""
        return len(self._values)

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Those that may be planned, sorted."""
        return tuple(self._latencies)

    def plan(self, remaining_ms: float, start: int = 0, standing: int | None = None) -> Plan:
        """The best path in the time that is left.

        Where nothing fits, the path is the cheapest segment from the input, and will be late; where an answer
        stands it is empty.

        Args:
            remaining_ms: until the deadline; zero, negative and infinite ones are deadlines, too.
            start: the stage that is finished, where the state is.
            standing: the stage whose answer stands; by default `start`.

        Raises:
            TypeError: for arguments that are no numbers.
            ValueError: for NaN, or stages that do not exist.
        """
        return self.plan_at(self.slowdown.estimate, remaining_ms, start, standing)

    def plan_at(
        self, slowdown: Estimate, remaining_ms: float, start: int = 0, standing: int | None = None
    ) -> Plan:
        """What `plan` would give at that slowdown."""
        question = self._asked(remaining_ms, start, standing)
        outgoing = self.times_at(slowdown)
        best = best_path(
            outgoing, self._values, question.aim, question.start, question.floor, stands=question.stands > 0
        )
        if best is None:
            return self._overdue(outgoing, question.aim.budget_ms)
        return self._plan(best, question)

    def plans_at(
        self, slowdown: Estimate, remaining_ms: float, start: int = 0, standing: int | None = None
    ) -> list[tuple[Plan, float]]:
        """Every plan that fits and is not worse than another in everything, with its median time.

        For choices by more than accuracy, such as by energy. Empty where nothing fits.
        """
        question = self._asked(remaining_ms, start, standing)
        labels = fitting_paths(
            self.times_at(slowdown), self._values, question.aim, question.start, question.floor
        )
        found = labels if question.stands else labels[1:]
        return [(self._plan(label, question), label.times[MEDIAN]) for label in found]

    def observe(self, start: int, stop: int, elapsed_ms: float) -> None:
        """Segment (start, stop) took that long: the running slowdown learns from it.

        Times that no clock gives are ignored, and so are segments whose entry in the table is an estimate,
        unless all are.
        """
        latency = self._trusted.get((start, stop))
        if latency is not None:
            self.slowdown.observe(latency.median_ms, elapsed_ms)

    def observe_stopped(self, start: int, finished: int, elapsed_ms: float) -> None:
        """A run from stage `start` was stopped after that long; the stage behind `finished` was not done.

        The slowdown learns where that contradicts it: from a next stage that should have been done by then,
        or a finished one that should have taken longer.
        """
        mean = self.slowdown.mean
        for (begin, stop), latency in self._trusted.items():
            expected_ms = mean * latency.median_ms
            late, early = (
                stop == finished + 1 and expected_ms < elapsed_ms,
                stop == finished and expected_ms > elapsed_ms,
            )
            if begin == start and (late or early):
                self.slowdown.observe(latency.median_ms, elapsed_ms)
                return

    def expected_ms(self, start: int, stop: int) -> float:
        """The median of a segment times the slowdown of now; 0 if it was not measured."""
        latency = self._trusted.get((start, stop))
        return 0.0 if latency is None else self.slowdown.mean * latency.median_ms

    def times_at(self, slowdown: Estimate) -> _Ways:
        """Of each stage, where its segments stop and how long they may take at that slowdown."""
        before, outgoing = self._outgoing
        if self._actual is None and before == slowdown:
            return outgoing
        outgoing = {}
        for (start, stop), latency in self._latencies.items():
            if self._actual is not None:
                times = certain(self._actual(start, stop))
            else:
                times = FROM_TABLE[self.variant](latency, slowdown)
            outgoing.setdefault(start, []).append((stop, times))
        self._outgoing = slowdown, outgoing
        return outgoing

    def _asked(self, remaining_ms: float, start: int, standing: int | None) -> _Question:
        remaining_ms = checks.number(remaining_ms, "remaining_ms", infinite=True)
        start = checks.whole_number(start, "start", 0, self.num_stages)
        stands = checks.optional(standing, "standing", checks.whole_number, 1, self.num_stages) or start
        floor = self._values[stands - 1] if stands else self._guess
        return _Question(Aim(remaining_ms, self._cut, self._late), start, stands, floor)

    def _plan(self, label: Label, question: _Question) -> Plan:
        late = 1 - chance_within(label.times, question.aim.budget_ms) if label.path else 0.0
        stage = self._stage(question.stands, label.path)
        return Plan(label.path, stage, label.value, late, fits=late < 1)

    def _stage(self, stands: int, path: Path) -> int:
        finished = [stands] * (stands > 0) + [stop for _, stop in path]
        return standing_stage(finished, self._validated) or 0

    def _overdue(self, outgoing: _Ways, remaining_ms: float) -> Plan:
        """The cheapest answer: nothing can be in time, and none is no answer."""
        stop, times = min(outgoing[0], key=lambda way: way[1][MEDIAN])
        chance = chance_within(times, remaining_ms)
        expected = self._guess + (self._values[stop - 1] - self._guess) * chance
        return Plan(((0, stop),), stop, expected, 1 - chance, fits=False)


def _planned(
    table: CostTable, stages: int, segments: Iterable[Segment] | None, batch: int, resumes: bool
) -> dict[Segment, Latency]:
    """The latency of each segment that may be planned, in order."""
    checks.instance(table, CostTable, "table", "a bundle's cost table")
    checks.flag(resumes, "resumes")
    known = {(start, stop) for start, stop, _ in table.entries}
    wanted = known if segments is None else {_segment(each, stages) for each in segments}
    last = stages if segments is None else max((stop for _, stop in wanted), default=stages)
    if not last <= table.num_stages <= stages:
        raise CostTableError(
            f"the cost table is of a net of {table.num_stages} stages, and {stages} have a validated score: "
            "profile this net"
        )
    found = {}
    unknown: CostTableError | None = None
    for start, stop in sorted(wanted):
        timed = (start, stop) if resumes or (start, stop) in known else (0, stop)
        if timed in known:
            try:
                found[start, stop] = table.latency(*timed, batch)
            except CostTableError as error:  # batches of that size were measured of other segments, perhaps
                unknown = unknown or error
    if not any(start == 0 for start, _ in found):
        raise unknown or CostTableError(
            "no segment from the input is both ready and in the cost table: profile the segments that "
            f"the backend has, {sorted(wanted)}"
        )
    return found


def _segment(segment: Segment, stages: int) -> Segment:
    found = checks.whole_numbers(segment, "segments")
    if len(found) != 2 or not found[0] < found[1] <= stages:
        raise ValueError(f"segments hold {found}: (start, stop) with 0 <= start < stop <= {stages} is needed")
    return found[0], found[1]


def _trusted(latencies: dict[Segment, Latency]) -> dict[Segment, Latency]:
    """What observed times are compared with: an estimate says little of what the machine does."""
    measured = {segment: latency for segment, latency in latencies.items() if not latency.estimated}
    return measured or latencies
