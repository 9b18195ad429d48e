"""The queue: jobs that have not begun, earliest deadline first."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from anytimenet.serving.scheduling.jobs import Job


class Waiting:
    """Jobs in the order of their keys.

    >>> from anytimenet.serving.request import Request
    >>> waiting = Waiting()
    >>> for number, due in enumerate((3.0, 1.0, 2.0)):
    ...     waiting.add(Job(number, Request(0.0, due), 1, due, due))
    >>> [job.number for job in waiting], waiting.first.number
    ([1, 2, 0], 1)
    """

    def __init__(self) -> None:
        self._keys: list[tuple[float, int, int]] = []
        self._jobs: dict[int, Job] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Job]:
        jobs = self._jobs
        return (jobs[key[2]] for key in self._keys)

    def __contains__(self, job: Job) -> bool:
        return job.number in self._jobs

    @property
    def first(self) -> Job | None:
        """The most urgent; None if nobody waits."""
        return self._jobs[self._keys[0][2]] if self._keys else None

    def add(self, job: Job) -> None:
        """Puts a job in its place."""
        insort(self._keys, job.key)
        self._jobs[job.number] = job

    def remove(self, job: Job) -> None:
        """Takes a job out."""
        place = bisect_left(self._keys, job.key)
        del self._keys[place]
        del self._jobs[job.number]
