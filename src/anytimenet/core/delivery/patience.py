"""How long a server is waited for, and the watch over one that sends too slowly or for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from anytimenet.core import checks
from anytimenet.core.errors import DeliveryError, UnreachableError

READ_S = 0.2
"""Seconds that a read lasts at most, before it is looked whether it is still wanted."""


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
    """One answer of a server, timed while it is waited for.

    What counts is the time within reads, which are short. A program that was stopped for a minute, or that
    writes slowly what came, has not waited for the server: what came meanwhile lies ready.

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
        self._since = clock()
        self._waited = self._silent = 0.0
        self._received = 0

    def waits(self) -> None:
        """A read begins."""
        self._since = self._clock()

    def waited(self, *, heard: bool) -> None:
        """It has ended: something came, or nothing did for as long as a read lasts."""
        took = min(max(self._clock() - self._since, 0.0), READ_S)
        self._waited += took
        self._silent = 0.0 if heard else self._silent + took

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
        patience = self._patience
        if self._silent > patience.silence_s:
            raise UnreachableError(
                f"{self._what}: nothing came for {patience.silence_s:g} s; try again later, what came is kept"
            )
        if self._waited > patience.silence_s + self._received / patience.slowest:
            raise UnreachableError(
                f"{self._what}: {self._received} bytes came in {self._waited:.0f} s, which is too slow "
                "to go on; try again later, what came is kept"
            )


def closed(what: object) -> DeliveryError:
    """The error of who asks on after the delivery was closed."""
    return DeliveryError(f"{what}: the delivery was closed; what came is kept")
