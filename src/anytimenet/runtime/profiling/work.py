"""What is timed: a piece of work, with what goes before and after it on its own account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _nothing() -> None:
    return None


def _forget(result: object) -> None:
    return None


@dataclass(frozen=True)
class Work:
    """One piece of work that is run again and again.

    Attributes:
        run: what is timed; called with what `ready` returned, and waits until its result is there.
        ready: called before each run; its time does not count.
        done: called with the result of each run; its time does not count.
        close: called when it is not run any more.

    >>> Work(run=len, ready=lambda: "four").once(iter([1.0, 3.0]).__next__)
    2.0
    """

    run: Callable[[Any], object]
    ready: Callable[[], Any] = _nothing
    done: Callable[[Any], object] = _forget
    close: Callable[[], object] = _nothing

    def once(self, clock: Callable[[], float]) -> float:
        """Seconds that one run takes."""
        given = self.ready()
        began = clock()
        result = self.run(given)
        seconds = clock() - began
        self.done(result)
        return seconds


Prepare = Callable[[int, int, int], Callable[[], object] | Work]
"""`prepare(start, stop, batch)` gives what runs that segment once: `Work`, or a function that waits."""


def as_work(found: Callable[[], object] | Work) -> Work:
    """A function of no arguments as work."""
    if isinstance(found, Work):
        return found
    function = found
    return Work(lambda _: function())
