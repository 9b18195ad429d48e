"""A plan: the segments to run next, and what is expected of them."""

from __future__ import annotations

from dataclasses import dataclass

Segment = tuple[int, int]
Path = tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run in the time there is.

    Attributes:
        path: segments (start, stop), each from where the one before stops; empty where what stands already is
            the best that can be had.
        stage: the stage that answers when the path is finished; 0 if none does.
        expected: expected accuracy at the deadline, from 0 to 1 where the stages were validated.
        late: the probability that the path ends after the deadline.
        fits: false if nothing can be expected to be in time: then the path is the cheapest answer that there
            is.
    """

    path: Path
    stage: int
    expected: float
    late: float = 0.0
    fits: bool = True
