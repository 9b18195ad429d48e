"""What a policy sees and decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from anytimenet.serving.scheduling.arrivals import Arrivals
from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.jobs import Group, Job, Work
from anytimenet.serving.scheduling.waiting import Waiting


@dataclass(slots=True)
class View:
    """The scheduler's state, to read.

    Attributes:
        costs: worth and time of the stages.
        workers: that run segments.
        waiting: jobs that have not begun.
        paused: groups that can go on, the one that ran last at the end.
        running: what the workers do.
        arrivals: how often requests come.
        states: groups that may be under way at a time.
        now: seconds.
        version: changes with whatever happens.
        in_one_go: whether a run over several stages answers with the best that its deadline allows.
    """

    costs: Costs
    workers: int
    waiting: Waiting
    paused: list[Group]
    running: list[Work]
    arrivals: Arrivals
    states: int
    now: float = 0.0
    version: int = 0
    in_one_go: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """To run waiting jobs, as a new group, from the input to `stop`, on the way to `goal`, 0 for none."""

    jobs: Sequence[Job]
    stop: int
    goal: int = 0


@dataclass(frozen=True, slots=True)
class Continue:
    """To run a paused group on: the segment (start, stop), where start is its stage or 0."""

    group: Group
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Wait:
    """To run nothing before `until`, in seconds, unless something happens."""

    until: float


class Policy(Protocol):
    """How deep requests go. A policy may remember; the scheduler calls it from one thread at a time."""

    def refusal_s(self, view: View, job: Job) -> float | None:
        """None to admit a job; else the seconds after which one like it would be."""

    def hopeless(self, view: View, job: Job) -> bool:
        """Whether a job that waits is not worth beginning any more."""

    def ends(self, view: View, group: Group, job: Job) -> bool:
        """Whether a job of a paused group is answered now; asked only where an answer stands."""

    def choose(self, view: View) -> Start | Continue | Wait | None:
        """What a free worker does; None for nothing until something happens."""

    def dropped(self, view: View, job: Job) -> None:
        """A job was not answered in time: refused, expired or late."""

    def answered(self, view: View, job: Job) -> None:
        """A job was answered in time."""
