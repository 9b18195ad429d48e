"""Plans kept for the next time that as much time is left on a machine as slow."""

from __future__ import annotations

import math

from anytimenet.core import checks
from anytimenet.runtime.planning.plan import Plan, Segment
from anytimenet.runtime.planning.planner import Planner
from anytimenet.runtime.planning.slowdown import Bin, Estimate, Slowdown, estimate_of

_STEP = math.log(1.01)
_LEAST_MS = 1e-3
_MOST_MS = 1e9
_MOST_BINS = 64
_MOST_CELLS = 512

_Cells = dict[tuple[float, int, int | None], Plan]


def rounded_down(remaining_ms: float) -> float:
    """The time that a plan is kept for: at most 1 % less than is left.

    Of less than a microsecond nothing is left; more than eleven days are for ever.

    >>> 9.9 < rounded_down(10.0) <= 10.0, rounded_down(-3.0), rounded_down(math.inf)
    (True, 0.0, inf)
    """
    if remaining_ms < _LEAST_MS:
        return 0.0
    if remaining_ms > _MOST_MS:
        return math.inf
    step = math.floor(math.log(remaining_ms) / _STEP)
    down = math.exp(step * _STEP)
    return down if down <= remaining_ms else math.exp((step - 1) * _STEP)


class PlanTable:
    """A planner that remembers: the same plans, in microseconds.

    A plan is made once for each bin of the slowdown, each time left on a grid of 1 %, and each stage, when it
    is first asked for. It is the plan of `planner` for the bin's upper end and the time rounded down, so that
    it is never more optimistic than the planner would be. Plans of bins that the slowdown has left are kept
    until there are too many: under a load that comes and goes it soon comes back.

    Several threads may ask and observe.

    Args:
        planner: what makes the plans; any variant but `oracle`, whose times change from call to call.

    Raises:
        TypeError: if it is no planner.
        ValueError: if it is an oracle.

    >>> from anytimenet.core.manifest.cost_table import CostTable, Latency
    >>> table = CostTable("cpu", {"id": "here"}, "float32", 1, (3, 32, 32), {
    ...     (0, 1, 1): Latency(1.0, 1.1, 1.2, repeats=50), (0, 2, 1): Latency(5.0, 5.1, 5.2, repeats=50)})
    >>> plans = PlanTable(Planner(table, (0.7, 0.9)))
    >>> plans.plan(20) is plans.plan(20.001), plans.plan(3).path
    (True, ((0, 1),))
    """

    def __init__(self, planner: Planner) -> None:
        checks.instance(planner, Planner, "planner", "Planner(table, validated)")
        if planner.variant == "oracle":
            raise ValueError("the times of an oracle change from call to call: ask it without a table")
        self.planner = planner
        self._bins: dict[Bin, _Cells] = {}
        # In one tuple, for threads may plan at once: the estimate, what stands for it, and its plans.
        self._now: tuple[Estimate | None, Estimate, _Cells] = (None, Estimate(), {})

    @property
    def num_stages(self) -> int:
        """K."""
        return self.planner.num_stages

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Those that may be planned, sorted."""
        return self.planner.segments

    @property
    def slowdown(self) -> Slowdown:
        """The running estimate of the planner."""
        return self.planner.slowdown

    def plan(self, remaining_ms: float, start: int = 0, standing: int | None = None) -> Plan:
        """The best path in the time that is left; see `Planner.plan`.

        Raises:
            TypeError, ValueError: as there.
        """
        if type(remaining_ms) is not float or remaining_ms != remaining_ms or type(start) is not int:
            remaining_ms = float(checks.number(remaining_ms, "remaining_ms", infinite=True))
            start = checks.whole_number(start, "start")
        upper, cells = self._here()
        kept_for = rounded_down(remaining_ms)
        key = (kept_for, start, standing)
        plan = cells.get(key)
        if plan is None:
            plan = self.planner.plan_at(upper, kept_for, start, standing)
            if len(cells) >= _MOST_CELLS:
                cells.clear()
            cells[key] = plan
        return plan

    def observe(self, start: int, stop: int, elapsed_ms: float) -> None:
        """Segment (start, stop) took that long; see `Planner.observe`."""
        self.planner.observe(start, stop, elapsed_ms)

    def observe_stopped(self, start: int, finished: int, elapsed_ms: float) -> None:
        """A run was stopped on its way; see `Planner.observe_stopped`."""
        self.planner.observe_stopped(start, finished, elapsed_ms)

    def expected_ms(self, start: int, stop: int) -> float:
        """What a segment takes now, as far as is known; see `Planner.expected_ms`."""
        return self.planner.expected_ms(start, stop)

    def _here(self) -> tuple[Estimate, _Cells]:
        """What stands for the slowdown now, and the plans that were made for it."""
        estimate = self.planner.slowdown.estimate
        before, upper, cells = self._now
        if estimate is before:
            return upper, cells
        key = estimate.bin
        if key not in self._bins and len(self._bins) >= _MOST_BINS:
            self._bins.clear()
        upper, cells = estimate_of(key), self._bins.setdefault(key, {})
        self._now = estimate, upper, cells  # at once: another thread never sees parts of two
        return upper, cells
