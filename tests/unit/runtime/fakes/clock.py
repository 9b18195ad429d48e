"""Time that passes only when it is told to."""

from __future__ import annotations

import math
from collections.abc import Callable


class FakeClock:
    """Seconds that `advance`, `sleep` and nothing else move on; what is due on the way happens.

    >>> clock = FakeClock()
    >>> clock.at(2.0, lambda: print("two"))
    >>> clock.sleep(5.0)
    two
    >>> clock()
    5.0
    """

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.slept: list[float] = []
        self._due: list[tuple[float, int, Callable[[], object]]] = []

    def __call__(self) -> float:
        return self.now

    def at(self, when: float, happens: Callable[[], object]) -> None:
        """Calls `happens` once, when the clock comes to `when`."""
        self._due.append((when, len(self._due), happens))

    def advance(self, seconds: float) -> None:
        """Lets `seconds` pass."""
        until = self.now + seconds
        while due := sorted(entry for entry in self._due if entry[0] <= until):
            self._due.remove(due[0])
            self.now = max(self.now, due[0][0])
            due[0][2]()
        self.now = until

    def sleep(self, seconds: float) -> None:
        """Lets `seconds` pass, as `time.sleep` does, and remembers it."""
        assert seconds >= 0, f"time.sleep({seconds}) would raise"
        self.slept.append(seconds)
        self.advance(seconds)

    def wait(self, seconds: float) -> None:
        """Lets `seconds` pass, or as long as it takes until something happens."""
        first = min((when for when, _, _ in self._due), default=self.now + seconds)
        # As much as rounding keeps, or no time would pass.
        self.advance(max(min(first - self.now, seconds), 2 * math.ulp(self.now)))
