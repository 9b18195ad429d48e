"""How long something took: quantiles of its runs, in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass, field

from anytimenet.core import checks
from anytimenet.core.errors import CostTableError
from anytimenet.core.records import JsonForm, Record, stored


@dataclass(frozen=True)
class Latency(Record):
    """Wall-clock time of one segment for one batch.

    Attributes:
        median_ms: half of the runs took no longer.
        p95_ms: 95 % took no longer.
        p99_ms: 99 % took no longer.
        repeats: runs it was measured over; 0 if it was not measured.
        estimated: true if it was derived from other measurements.
        low_ms: a tenth of the runs took no longer: close to what a machine at rest needs. None if unknown.
        unstable: true if the runs differed so much that the median says more of the machine than of the net.
    """

    median_ms: float
    p95_ms: float
    p99_ms: float
    repeats: int
    estimated: bool = False
    low_ms: float | None = field(default=None, metadata=stored(later=True))
    unstable: bool = field(default=False, metadata=stored(later=True))
    json_form = JsonForm(CostTableError)

    def __post_init__(self) -> None:
        with checks.raised_as(CostTableError):
            for name in ("median_ms", "p95_ms", "p99_ms"):
                checks.settle(self, name, checks.number, 0)
            checks.settle(self, "repeats", checks.whole_number)
            checks.settle(self, "estimated", checks.flag)
            checks.settle(self, "unstable", checks.flag)
            if self.low_ms is not None:
                checks.settle(self, "low_ms", checks.number, 0)
        times = (self.median_ms, self.p95_ms, self.p99_ms)
        if list(times) != sorted(times):
            raise CostTableError(
                f"latencies {times} ms: three finite times, none negative, median <= p95 <= p99, are needed"
            )
        if self.low_ms is not None and self.low_ms > self.median_ms:
            raise CostTableError(f"low_ms {self.low_ms} must not be above the median {self.median_ms}")
        if self.repeats == 0 and not self.estimated:
            raise CostTableError(f"a latency over {self.repeats} runs was not measured: mark it estimated")


def between(low: Latency, high: Latency, share: float) -> Latency:
    """The point at `share` of the way from `low` to `high`."""

    def line(one: float, other: float) -> float:
        return (1 - share) * one + share * other

    return Latency(
        line(low.median_ms, high.median_ms),
        line(low.p95_ms, high.p95_ms),
        line(low.p99_ms, high.p99_ms),
        repeats=min(low.repeats, high.repeats),
        estimated=True,
    )
