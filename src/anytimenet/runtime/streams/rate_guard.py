"""Whether the work of a period fits into it."""

from __future__ import annotations

import math
import statistics
from collections import deque

from anytimenet.core import checks

_CALM = 0.9
"""Of the period: below it the work fits again. Between that and the period nothing is said twice."""


class RateGuard:
    """Says when the period is shorter than the work, and when it no longer is.

    It looks at the median of the last works, so that a single slow one says nothing.

    Args:
        period_ms: milliseconds from one answer to the next.
        window: works that it looks at.

    >>> guard = RateGuard(30.0, window=3)
    >>> [guard.add(20.0), guard.add(45.0)]
    [None, None]
    >>> guard.add(50.0)
    'the work of a frame takes 45.0 ms and the period is 30.0 ms: frames are skipped; give 50 ms or more'
    >>> guard.too_short
    True
    """

    def __init__(self, period_ms: float, window: int = 15) -> None:
        self.period_ms = checks.number(period_ms, "period_ms", above=0)
        self._works: deque[float] = deque(maxlen=checks.whole_number(window, "window", 1))
        self.too_short = False

    @property
    def needed_ms(self) -> float:
        """The period that nine of ten of the last works would fit into, 0 before the first."""
        ordered = sorted(self._works)
        return ordered[math.ceil(0.9 * len(ordered)) - 1] if ordered else 0.0

    def add(self, work_ms: float) -> str | None:
        """Takes in one work; what is to be said, if that changes."""
        self._works.append(work_ms)
        if len(self._works) < (self._works.maxlen or 1):
            return None
        middle = statistics.median(self._works)
        if not self.too_short and middle > self.period_ms:
            self.too_short = True
            return (
                f"the work of a frame takes {middle:.1f} ms and the period is {self.period_ms:.1f} ms: "
                f"frames are skipped; give {math.ceil(self.needed_ms)} ms or more"
            )
        if self.too_short and middle <= _CALM * self.period_ms:
            self.too_short = False
            return f"the work of a frame takes {middle:.1f} ms and fits into {self.period_ms:.1f} ms again"
        return None
