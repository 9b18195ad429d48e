"""A run of segments that one thread at a time works on, and any may cancel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from anytimenet.core.errors import SessionError
from anytimenet.runtime.backends.backend import Backend, Output, State
from anytimenet.runtime.paths import SegmentPath


class Answer(NamedTuple):
    """What one segment gave.

    Attributes:
        stage: that is finished.
        output: its logits, one array `(N, classes, ...)` a label level.
        segment: (start, stop).
        segment_ms: milliseconds that the segment took.
        elapsed_ms: milliseconds from the begin of the session to this answer.
    """

    stage: int
    output: Output
    segment: tuple[int, int]
    segment_ms: float
    elapsed_ms: float


class GuardedRun:
    """What a session holds: the state, the answers, and what is left of a path.

    Whoever runs segments is inside `with run:`; a second thread is refused there.

    Args:
        backend: runs the segments.
        x: standardised inputs, float32 `(N, C, H, W)`, which nobody changes.
        clock: seconds.
        began: when the session did.

    Attributes:
        at: the stage of the state; 0 where none is held, for the input is there.
        path: the segments that have run.
        left: those that are still to run.
        answers: by stage.
        paused: whether no further segment may start.
        cancelled: whether the run is over for good.
    """

    def __init__(self, backend: Backend, x: np.ndarray, clock: Callable[[], float], began: float) -> None:
        self.backend, self.x, self.clock, self.began = backend, x, clock, began
        self.last = backend.num_stages
        self.state: State | None = None
        self.at = 0
        self.path: SegmentPath = ()
        self.left: SegmentPath = ()
        self.answers: dict[int, Answer] = {}
        self.paused = self.cancelled = False
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self.hold()
        if self.cancelled:
            self.let_go()
            raise SessionError("this session was cancelled: begin another one")

    def __exit__(self, *raised: object) -> None:
        self.let_go()

    def hold(self) -> None:
        """Enters, also after it was cancelled.

        Raises:
            SessionError: if a thread is inside.
        """
        if not self._lock.acquire(blocking=False):
            raise SessionError("this session is running in another thread: give each thread its own session")

    def let_go(self) -> None:
        """Leaves, and frees the state if the run was cancelled meanwhile."""
        self._lock.release()
        if self.cancelled:
            self._free()

    def cancel(self) -> None:
        """Ends the run, from any thread; what a segment under way gives is dropped when it ends."""
        self.cancelled = True
        self._free()

    @property
    def stage(self) -> int:
        """The last stage that is finished, 0 before the first."""
        return self.path[-1][1] if self.path else 0

    def release(self) -> None:
        """Gives the state back to the backend; what is left of a path could not go on from it."""
        state, self.state, self.at, self.left = self.state, None, 0, ()
        if state is not None:
            self.backend.release(state)

    def all_left(self) -> tuple[Answer, ...]:
        """Runs what is left, until it is paused."""
        found = []
        while self.left and not self.paused:
            found.append(self.first_left())
        return tuple(found)

    def first_left(self) -> Answer:
        """Runs the first segment that is left."""
        (start, stop), left = self.left[0], self.left[1:]
        if self.cancelled:
            raise SessionError("this session was cancelled between two segments: begin another one")
        answer = self.segment(start, stop)
        self.left = left
        return answer

    def segment(self, start: int, stop: int) -> Answer:
        """Runs one segment; from the input, if it starts there. If it fails, the state is lost."""
        began = self.clock()
        if start == 0:
            self.release()
        state, self.state, self.at = self.state, None, 0
        try:
            if state is None:
                state = self.backend.begin(self.x)
            state, output = self.backend.run(start, stop, state)
        except BaseException:
            self.left = ()
            if state is not None:
                self.backend.release(state)
            raise
        ended = self.clock()
        self.state, self.at = state, stop
        if self.cancelled or stop == self.last:
            self.release()
        if self.cancelled:
            raise SessionError("this session was cancelled while a segment ran, whose result is dropped")
        times = max(0.0, 1000 * (ended - began)), max(0.0, 1000 * (ended - self.began))
        answer = Answer(stop, output, (start, stop), *times)
        self.answers[stop] = answer
        self.path = (*self.path, (start, stop))
        return answer

    def _free(self) -> None:
        if self._lock.acquire(blocking=False):  # else whoever is inside comes here when it leaves
            self.release()
            self._lock.release()
