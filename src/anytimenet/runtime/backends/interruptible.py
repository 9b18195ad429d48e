"""Backends whose runs end between any two operators: at a deadline, or because another thread says so."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Protocol, cast

from anytimenet.runtime.backends.backend import Backend, Output, State


class Interruptible(Protocol):
    """What a backend may do beside what `Backend` says; sessions and predictors use it where it is there.

    A run is then not bound to end where a segment ends: it goes on from stage to stage as long as there is
    time, and what is finished stays.
    """

    @property
    def answers_anywhere(self) -> bool:
        """Whether every finished stage can answer after a stop, in little time.

        Then a run need not know beforehand how far it will come. A net whose heads are whole networks cannot.
        """

    def now_ns(self) -> int:
        """Nanoseconds of the clock that deadlines are on."""

    def run_until(
        self,
        stop: int,
        state: State,
        *,
        deadline_ns: int = 0,
        least: int = 1,
        answers: Sequence[int] | None = None,
    ) -> tuple[State, int, Output | None]:
        """As far as stage `stop`, or until the deadline or `cancel`: of one image.

        Args:
            stop: the stage to reach.
            state: of one image; it is used up.
            deadline_ns: on the clock of `now_ns`; 0: none. The time of what answers is kept free before it.
            least: before this stage is finished, the deadline does not end the run.
            answers: for each stage 0..K the one that answers where the run ends there.

        Returns:
            The state at the last finished stage, and the stage that answered with its output; 0 and None if
            none can.
        """

    def cancel(self, state: State) -> None:
        """Ends the run that has taken this state, also one by `Backend.run`, which then raises BackendError.

        From any thread.
        """


def interruptible(backend: Backend) -> Interruptible | None:
    """`backend` as one whose runs end anywhere; None if it is none."""
    return cast(Interruptible, backend) if _is(type(backend)) else None


@cache
def _is(kind: type) -> bool:
    return all(hasattr(kind, name) for name in ("answers_anywhere", "now_ns", "run_until", "cancel"))
