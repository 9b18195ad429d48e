"""What a call takes beyond the moment at which its run is told to end."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections import deque

_KEPT = 64
_FEW = 8


class Ending:
    """How much time is kept free at the end of a run that a deadline stops, from how calls ended of late.

    Behind the moment at which a run is told to end come the rest of a block and the making of the prediction.
    What is kept free is the median of the last 64 calls and six times its distance from the lower quartile:
    more than what all but one in a hundred of a bell curve need. Calls that lost the processor on their last
    steps, as up to half of them may on a busy machine, change nothing: no time that is kept free would have
    helped them. Several threads may observe.

    >>> ending = Ending()
    >>> for ms in (0.1, 0.2, 0.1, 25.0, 0.1, 0.2, 25.0, 0.1, 0.2, 0.1):
    ...     ending.observe(ms)
    >>> ending.reserve_ms(0.05, 8.0) < 1
    True
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._sorted: list[float] = []
        self._lock = threading.Lock()

    def reserve_ms(self, usual_ms: float, of_ms: float) -> float:
        """Milliseconds to keep free.

        Args:
            usual_ms: what making a prediction takes; that much at least.
            of_ms: the whole time; at most a quarter of it beside `usual_ms`, so that calls go on to tell how
                they end.
        """
        with self._lock:
            found = self._sorted
            if len(found) < _FEW:
                wanted = found[-1] if found else 0.0
            else:
                lower, middle = found[len(found) // 4], found[len(found) // 2]
                wanted = middle + 6 * (middle - lower)
        return max(usual_ms, min(wanted, usual_ms + max(of_ms, 0.0) / 4))

    def observe(self, ended_ms: float) -> None:
        """A call ended so long after its run had been told to end.

        What a clock says that was set is ignored.
        """
        if not 0 <= ended_ms < 1e9:
            return
        with self._lock:
            self._recent.append(ended_ms)
            insort(self._sorted, ended_ms)
            if len(self._recent) > _KEPT:
                del self._sorted[bisect_left(self._sorted, self._recent.popleft())]
