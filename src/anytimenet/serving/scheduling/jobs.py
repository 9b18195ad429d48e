"""Requests on their way through the scheduler, alone or in company."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from anytimenet.serving.request import Reason, Request

PATIENCE_S = 10.0
"""A request without a deadline is served as if it had one after so long, or it would wait for ever."""


@dataclass(eq=False, slots=True)
class Job:
    """One request that was admitted.

    Attributes:
        number: rising with admission.
        request: what was asked.
        least: no earlier stage answers it.
        due: seconds; when its answer has to be there, less what making and returning it takes. Infinite
            without a deadline.
        order: what the queue is ordered by: the deadline.
        standing: the stage whose answer stands; 0 for none.
        began: when its first segment began; None while it waits.
        tag: whatever the caller wants to find again.
    """

    number: int
    request: Request
    least: int
    due: float
    order: float
    standing: int = 0
    began: float | None = None
    cancelled: bool = False
    ended: bool = False
    tag: Any = None

    @property
    def answered(self) -> bool:
        """Whether an answer stands that may be given."""
        return self.standing > 0

    @property
    def priority(self) -> int:
        """Of the request."""
        return self.request.priority

    @property
    def key(self) -> tuple[float, int, int]:
        """Earliest deadline first; of equal ones the higher priority, then the earlier."""
        return self.order, -self.request.priority, self.number


@dataclass(eq=False, slots=True)
class Group:
    """Jobs that run together, from their first segment on; most often one.

    Attributes:
        jobs: in the rows of the state; whoever has left is no longer there.
        stage: the last that is finished.
        goal: the stage that it was begun for; 0 where that is decided on the way.
        rows: of the state that the last segment left, those that are still there; None for all.
        state: the caller's: what the backend needs to go on.
    """

    jobs: list[Job]
    stage: int = 0
    goal: int = 0
    rows: tuple[int, ...] | None = None
    state: Any = None

    def leave(self, job: Job) -> None:
        """Takes a job out; its row of the state is dropped before the next segment."""
        place = self.jobs.index(job)
        rows = range(len(self.jobs)) if self.rows is None else self.rows
        self.rows = tuple(row for at, row in enumerate(rows) if at != place)
        del self.jobs[place]

    @property
    def due(self) -> float:
        """The earliest of its jobs'."""
        return min((job.due for job in self.jobs), default=math.inf)

    @property
    def order(self) -> float:
        """The earliest of its jobs'."""
        return min((job.order for job in self.jobs), default=math.inf)


@dataclass(frozen=True, eq=False, slots=True)
class Work:
    """A segment to run, for a worker.

    Attributes:
        group: whose.
        start: where the state is; 0 for the input.
        stop: the stage to reach.
        began: seconds.
        ends: when it is expected to end.
    """

    group: Group
    start: int
    stop: int
    began: float
    ends: float

    @property
    def jobs(self) -> Sequence[Job]:
        """Who is in it."""
        return self.group.jobs


@dataclass(frozen=True, slots=True)
class Answered:
    """A job ends with the answer of `stage`."""

    job: Job
    stage: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """A job ends without an answer."""

    job: Job
    reason: Reason
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Broken:
    """A job ends because its segment failed."""

    job: Job
    error: Exception = field(compare=False)


Outcome = Answered | Dropped | Broken
