"""What a server has done since it was made, and how busy it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from anytimenet.serving.request import Done, InvalidInputError, Reason, Refused, Update

_UTILISED_OVER_S = 5.0
_OUTCOMES = ("answered", "late", "overload", "expired", "closing", "cancelled", "failed", "invalid")


@dataclass(frozen=True)
class ServerStatus:
    """What a model server does now, and has done since it was made.

    Attributes:
        policy: its name.
        waiting: requests that have not begun.
        paused: groups between two segments.
        running: segments under way.
        threads: engine threads.
        slowdown: how many times slower the machine is than when it was profiled.
        utilisation: share of the threads' time that segments took, of late.
        outcomes: requests by how they ended: "answered", "late", "overload", "expired", "closing",
            "cancelled", "failed", "invalid" (an input that could not be made).
        stages: answers by stage, from 1.
        reserve_ms: kept free for making a prediction and returning it.
        closing: whether nobody is admitted any more.
    """

    policy: str
    waiting: int
    paused: int
    running: int
    threads: int
    slowdown: float
    utilisation: float
    outcomes: Mapping[str, int]
    stages: Mapping[int, int]
    reserve_ms: float
    closing: bool = False


class Tally:
    """Counts ends and answers, and remembers how much of the last seconds segments took.

    Args:
        stages: of the net.
        threads: engine threads.
        clock: seconds.
    """

    def __init__(self, stages: int, threads: int, clock: Callable[[], float]) -> None:
        self.outcomes = dict.fromkeys(_OUTCOMES, 0)
        self.stages = dict.fromkeys(range(1, stages + 1), 0)
        self._threads, self._clock = threads, clock
        self._utilised, self._at = 0.0, clock()

    def refused(self, reason: Reason) -> None:
        """A request was not admitted."""
        self.outcomes[reason] += 1

    def ended(self, update: Update) -> None:
        """A request that was admitted has ended."""
        if isinstance(update, Done):
            self.outcomes["late" if update.timing.late else "answered"] += 1
            self.stages[update.prediction.stage] += 1
        elif isinstance(update, Refused):
            self.outcomes[update.reason] += 1
        else:
            invalid = isinstance(getattr(update, "error", None), InvalidInputError)
            self.outcomes["invalid" if invalid else "failed"] += 1

    def ran(self, took_s: float) -> None:
        """A segment took so long."""
        self._utilised = self.utilisation + took_s / (_UTILISED_OVER_S * self._threads)
        self._at = self._clock()

    @property
    def utilisation(self) -> float:
        """Share of the threads' time that segments took, of late."""
        passed = max(0.0, self._clock() - self._at)
        return min(1.0, self._utilised * math.exp(-passed / _UTILISED_OVER_S))
