"""How long a segment may take, as a distribution: what each variant of the planner reads from a table."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace

from anytimenet.core.manifest.cost_table import Latency
from anytimenet.runtime.planning.slowdown import Estimate

SCORES = (-1.2815515655446004, 0.0, 1.6448536269514722, 2.3263478740408408, 5.0)
"""Standard normal scores of the quantiles that are kept: 10, 50, 95, 99 %, and what is never exceeded."""

MEDIAN = 1
"""Place of the median among them."""

Times = tuple[float, float, float, float, float]
"""Milliseconds at each of `SCORES`, rising: a distribution.

Between them it is a line over the normal score. Nothing is quicker than the first; the last is sure. Those of
a path are the sums of its segments': a run is slow as a whole, because the machine is. Such sums keep an
order: where all five times of one path are below those of another, they still are after any further segment,
and so is each chance of being in time. The planner's proof that it misses no path rests on that.
"""

NOW: Times = (0.0, 0.0, 0.0, 0.0, 0.0)
"""Of no work."""

FromTable = Callable[[Latency, Estimate], Times]


def chance_within(times: Times, budget_ms: float) -> float:
    """The probability of taking no longer than the budget.

    >>> [round(chance_within((8.0, 10.0, 12.0, 13.0, 17.0), ms), 2) for ms in (7, 10, 12, 13, 17)]
    [0.0, 0.5, 0.95, 0.99, 1.0]
    """
    if budget_ms >= times[4]:
        return 1.0
    above = bisect_right(times, budget_ms)
    if not above:
        return 0.0
    low, high = times[above - 1], times[above]
    share = (budget_ms - low) / (high - low)
    score = SCORES[above - 1] + share * (SCORES[above] - SCORES[above - 1])
    return 0.5 * math.erfc(-score * _ROOT_HALF)


def as_middle(latency: Latency, slowdown: Estimate) -> Times:
    """`mean`: the middle of the table, as if it were certain."""
    return certain(latency.median_ms)


def as_p95(latency: Latency, slowdown: Estimate) -> Times:
    """`p95`: the table's 95 % quantile, as if it were certain."""
    return certain(latency.p95_ms)


def as_slowed(latency: Latency, slowdown: Estimate) -> Times:
    """`slowdown`: the same times the running slowdown."""
    return certain(latency.p95_ms * slowdown.mean)


def as_distribution(latency: Latency, slowdown: Estimate) -> Times:
    """`alert`: the table's quantiles times the running slowdown, which is itself uncertain.

    ALERT takes a normal distribution with mean mu t and deviation sigma t for a profiled time t. Here t is
    the median; what waits add, and the spread of the table, come to that as independent: at a score z, sigma
    z t and mu (t_z - t) in quadrature. Beyond the 99 % quantile the table goes on as from 95 to 99 %. Where
    it does not know its quickest tenth, nothing is quicker than the median.
    """
    mean, deviation = slowdown.mean, slowdown.deviation
    middle, p95, p99 = latency.median_ms, latency.p95_ms, latency.p99_ms
    low = middle if latency.low_ms is None else latency.low_ms
    sure = p99 + (p99 - p95) * _BEYOND
    centre, spread = mean * middle, math.hypot(deviation * middle, math.sqrt(slowdown.waiting * middle))
    return (
        max(0.0, centre - math.hypot(spread * SCORES[0], mean * (middle - low))),
        centre,
        centre + math.hypot(spread * SCORES[2], mean * (p95 - middle)),
        centre + math.hypot(spread * SCORES[3], mean * (p99 - middle)),
        centre + math.hypot(spread * SCORES[4], mean * (sure - middle)),
    )


def of_the_net(latency: Latency, *, busy: bool = False) -> Latency:
    """What a latency tells of the net, without what else the machine did while it was profiled.

    At rest the time of a segment varies by a few percent. A median that lies far above its quickest runs
    (`unstable`) is replaced by these, and quantiles beyond 30 % above it are taken as 30 %: more than that
    comes from other processes, which the running slowdown tells of as they are now. `busy` says that another
    segment of the table is unstable: quickest runs are taken of all then, for they compare with no medians.

    >>> found = of_the_net(Latency(8.0, 19.0, 25.0, repeats=50, low_ms=5.0, unstable=True))
    >>> found.median_ms, found.p95_ms, found.p99_ms
    (5.0, 6.5, 6.5)
    """
    base = latency.median_ms
    if (busy or latency.unstable) and latency.low_ms is not None:
        base = latency.low_ms
    most = _OF_THE_NET * base
    return replace(
        latency, median_ms=base, p95_ms=min(latency.p95_ms, most), p99_ms=min(latency.p99_ms, most)
    )


def certain(milliseconds: float) -> Times:
    """A time without spread.

    >>> chance_within(certain(3), 2.9), chance_within(certain(3), 3)
    (0.0, 1.0)
    """
    return (float(milliseconds),) * 5


_OF_THE_NET = 1.3
_ROOT_HALF = math.sqrt(0.5)
_BEYOND = (SCORES[4] - SCORES[3]) / (SCORES[3] - SCORES[2])

FROM_TABLE: dict[str, FromTable] = {
    "mean": as_middle,
    "p95": as_p95,
    "slowdown": as_slowed,
    "alert": as_distribution,
}
"""Variants of the planner that read a cost table, by name."""
