"""How long a server is waited for, and the watch over one that sends too slowly or for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from anytimenet.core import checks
from anytimenet.core.errors import DeliveryError, UnreachableError


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        connect_s: seconds for a connection to stand, encryption included.
        silence_s: seconds in which nothing comes; also for the whole head of an answer.
        slowest: bytes a second below which a body is given up, on average and after `silence_s`.
        tries: connections without progress after which a file is given up.
        pause_s: seconds between two tries; doubled each time, a minute at most.

    Raises:
        TypeError, ValueError: for values that are no times, rates or counts.
    """

    connect_s: float = 15.0
    silence_s: float = 30.0
    slowest: float = 512.0
    tries: int = 4
    pause_s: float = 1.0

    def __post_init__(self) -> None:
        checks.settle(self, "connect_s", checks.number, above=0)
        checks.settle(self, "silence_s", checks.number, above=0)
        checks.settle(self, "slowest", checks.number, above=0)
        checks.settle(self, "tries", checks.whole_number, 1)
        checks.settle(self, "pause_s", checks.number, 0)

    def pause_after(self, tries: int) -> float:
        """Seconds to wait after so many tries without progress.

        >>> [Patience().pause_after(tries) for tries in (1, 2, 3, 20)]
        [1.0, 2.0, 4.0, 60.0]
        """
        return min(self.pause_s * 2.0 ** min(tries - 1, 30), 60.0)


class Watch:
    """One answer of a server, timed while it comes.

    Args:
        what: the URL, for messages.
        patience: how long is waited.
        clock: seconds.
        stopped: set when nobody wants the answer any more.
    """

    def __init__(
        self, what: str, patience: Patience, clock: Callable[[], float], stopped: threading.Event
    ) -> None:
        self._what = what
        self._patience = patience
        self._clock = clock
        self._stopped = stopped
        self._began = self._heard = clock()
        self._received = 0

    def heard(self) -> None:
        """Something came, on the wire."""
        self._heard = self._clock()

    def received(self, count: int) -> None:
        """So many bytes of the body came."""
        self._received += count

    def check(self) -> None:
        """Raises UnreachableError if the server was silent, or has been slow, for too long.

        Raises:
            DeliveryError: if the delivery was closed.
        """
        if self._stopped.is_set():
            raise closed(self._what)
        now, patience = self._clock(), self._patience
        if now - self._heard > patience.silence_s:
            raise UnreachableError(
                f"{self._what}: nothing came for {patience.silence_s:g} s; try again later, what came is kept"
            )
        if now - self._began > patience.silence_s + self._received / patience.slowest:
            raise UnreachableError(
                f"{self._what}: {self._received} bytes came in {now - self._began:.0f} s, which is too slow "
                "to go on; try again later, what came is kept"
            )


def closed(what: object) -> DeliveryError:
    """The error of who asks on after the delivery was closed."""
    return DeliveryError(f"{what}: the delivery was closed; what came is kept")
