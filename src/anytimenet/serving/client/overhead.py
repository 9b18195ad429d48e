"""How long the way to a server and back takes beside its own work: estimated as TCP estimates round trips."""

from __future__ import annotations

import threading


class Overhead:
    """A running mean and mean deviation (RFC 6298: weights 1/8 and 1/4).

    What is kept free of a deadline is the mean and twice the deviation.

    >>> overhead = Overhead()
    >>> overhead.reserve_ms
    0.0
    >>> overhead.observe(round_trip_ms=5.0, server_ms=3.0)
    >>> overhead.reserve_ms
    4.0
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mean_ms: float | None = None
        self._deviation_ms = 0.0

    def observe(self, round_trip_ms: float, server_ms: float) -> None:
        """One answer has come."""
        found = max(0.0, round_trip_ms - server_ms)
        with self._lock:
            if self._mean_ms is None:
                self._mean_ms, self._deviation_ms = found, found / 2
                return
            self._deviation_ms += (abs(found - self._mean_ms) - self._deviation_ms) / 4
            self._mean_ms += (found - self._mean_ms) / 8

    @property
    def reserve_ms(self) -> float:
        """Milliseconds that are kept free; 0 before the first answer."""
        with self._lock:
            return 0.0 if self._mean_ms is None else self._mean_ms + 2 * self._deviation_ms
