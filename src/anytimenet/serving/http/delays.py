"""The time that a request loses around its scheduler: before the server reads it, and after it is answered.

A loop that is busy is a queue of its own. Requests wait in their sockets, where no deadline is looked at, and
answers wait for their turn to be written. Both are measured here, so that deadlines are kept by the client's
clock as well as the scheduler's: without it an overloaded server does all its work, and all of it late.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import Any

from anytimenet.core import checks

_FIRST_S, _MOST_S = 0.0002, 0.01
_LARGEST_SHARE = 0.1
"""Of what a request is allowed: one long pause of this machine must not refuse those that come after it."""
_RECENT = 0.05


class TimedSelector(selectors.DefaultSelector):
    """Knows since when what it found may have been waiting.

    It looks before it waits. What is there at once may have come since the poll before, however long the look
    took: a process that is descheduled in it has not waited. What ends a wait is new.

    Attributes:
        since: on `time.monotonic`: everything that the last poll found became ready after this.
    """

    def __init__(self) -> None:
        super().__init__()
        self.since = self._polled = time.monotonic()

    def select(self, timeout: float | None = None) -> Any:
        """As ever."""
        found = super().select(0)
        waits = not found and (timeout is None or timeout > 0)
        if waits:
            found = super().select(timeout)
        ended = time.monotonic()
        self.since = ended if waits else self._polled
        self._polled = ended
        return found


def timed_loop() -> asyncio.AbstractEventLoop:
    """A loop whose `arrived_since` is that of its selector."""
    selector = TimedSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.timed_selector = selector  # type: ignore[attr-defined]
    return loop


def arrived_since(loop: asyncio.AbstractEventLoop) -> float | None:
    """Since when what the loop reads now may have been there; None for a loop that does not know.

    >>> loop = asyncio.new_event_loop()
    >>> arrived_since(loop) is None
    True
    >>> loop.close()
    """
    selector = getattr(loop, "timed_selector", None)
    return None if selector is None else selector.since


class WayBack:
    """How long answers take from the scheduler to their socket: what is kept free before each deadline.

    A running mean and the running deviation. More of it would refuse more requests than it keeps in time.

    >>> way = WayBack()
    >>> for _ in range(200):
    ...     way.took(0.001)
    >>> round(1000 * way.reserve_s(allowed_s=0.1))
    1
    """

    def __init__(self) -> None:
        self._mean, self._spread = _FIRST_S, 0.0

    def reserve_s(self, allowed_s: float) -> float:
        """Seconds that most answers take, and no more than a tenth of what a request is allowed."""
        return min(self._mean + self._spread, _LARGEST_SHARE * max(allowed_s, 0.0))

    def took(self, seconds: float) -> None:
        """An answer took so long."""
        seconds = min(checks.number(seconds, "seconds", 0), _MOST_S)
        self._spread += _RECENT * (abs(seconds - self._mean) - self._spread)
        self._mean += _RECENT * (seconds - self._mean)
