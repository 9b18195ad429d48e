"""A run of segments that one thread at a time works on, and any may cancel."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from anytimenet.core.errors import BackendError, SessionError
from anytimenet.runtime.backends.backend import Backend, Output, State
from anytimenet.runtime.backends.interruptible import interruptible
from anytimenet.runtime.paths import SegmentPath, path_to


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


_STOPPED = "this session was cancelled while a segment ran, whose result is dropped"


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
        stops: the backend, if it can end a run of one image between any two operators.
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
        self.stops = interruptible(backend) if len(x) == 1 else None
        self._lock = threading.Lock()
        self._taken: State | None = None
        self._taking = threading.Lock()

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
        """Ends the run, from any thread; what a segment under way gives is dropped when it ends.

        It ends at once where the backend can stop it.
        """
        self.cancelled = True
        stops = interruptible(self.backend)
        with self._taking:  # while the run has its state, which no other run has then
            if stops is not None and self._taken is not None:
                stops.cancel(self._taken)
        self._free()

    @property
    def stage(self) -> int:
        """The last stage that is finished, 0 before the first."""
        return self.path[-1][1] if self.path else 0

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the session began."""
        return max(0.0, 1000 * (self.clock() - self.began))

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

    def left_until(self, ends: float, answers: Sequence[int]) -> tuple[Answer, ...]:
        """Runs what is left, until it is paused or the time is over.

        Args:
            ends: when it is, on the clock of the session.
            answers: as of `until`.
        """
        found = []
        while self.left and not self.paused:
            within_ms = 1000 * (ends - self.clock())
            if within_ms <= 0:
                break
            (start, stop), *left = self.left
            if self.stops is None:
                found.append(self.first_left())
                continue
            if start == 0:
                self.release()
            answer = self.until(stop, within_ms, 0, answers)
            if answer is not None:
                found.append(answer)
            if self.stage < stop:
                self.left = (*path_to(stop, self.at, self.stage, self.backend.segments), *left)
                break
            self.left = tuple(left)
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
        state = self._take(start)
        try:
            after, output = self.backend.run(start, stop, state)
        except BaseException as error:
            self._lose(state)
            if self.cancelled and isinstance(error, BackendError):
                raise SessionError(_STOPPED) from None
            raise
        ended = self.clock()
        self._put_back(after)
        self.path = (*self.path, (start, stop))
        return self._answer(stop, output, (start, stop), began, ended)

    def until(self, stop: int, within_ms: float, least: int, answers: Sequence[int] | None) -> Answer | None:
        """Goes on to a stage, or as far as the time allows, on a backend that stops anywhere.

        Args:
            stop: a stage ahead.
            within_ms: from now.
            least: before this stage is finished the run does not end.
            answers: for each stage 0..K the one that answers if the run ends there.

        Returns:
            The answer of the stage that stands now; None if that has answered before, or none can.
        """
        began, stops = self.clock(), self.stops
        assert stops is not None, "whoever asks has looked"
        deadline_ns = 0 if within_ms == math.inf else max(1, stops.now_ns() + int(1e6 * max(within_ms, -1.0)))
        before, left, at = self.stage, self.left, self.at
        state = self._take(at)
        try:
            after, answered, output = stops.run_until(
                stop, state, deadline_ns=deadline_ns, least=least, answers=answers
            )
        except BaseException:
            self._lose(state)
            raise
        ended, reached = self.clock(), after.stage
        self._put_back(after)
        if reached < before or not reached:  # what began again did not come as far as it was, or nowhere
            self.release()
        self.left = left
        segment, new = (at, answered), output is not None and answered > before
        for stage in (answered, reached) if new else (reached,):
            if stage > self.stage:
                self.path, at = (*self.path, (at, stage)), stage
        return self._answer(answered, output, segment, began, ended) if new and output else None

    def _take(self, start: int) -> State:
        """The state that a segment begins with, which the run has no longer."""
        if start == 0:
            self.release()
        state, self.state, self.at = self.state, None, 0
        try:
            if state is None:
                state = self.backend.begin(self.x)
        except BaseException:
            self.left = ()
            raise
        with self._taking:
            self._taken = state
        if self.cancelled:  # before there was anything to stop
            self._lose(state)
            raise SessionError(_STOPPED)
        return state

    def _lose(self, state: State) -> None:
        with self._taking:
            self._taken = None
        self.left = ()
        self.backend.release(state)

    def _put_back(self, state: State) -> None:
        """Keeps the state that a segment gave, or frees it if nothing is to follow."""
        with self._taking:
            self._taken = None
        self.state, self.at = state, state.stage
        if self.cancelled or self.at == self.last:
            self.release()
        if self.cancelled:
            raise SessionError(_STOPPED)

    def _answer(
        self, stage: int, output: Output, segment: tuple[int, int], began: float, ended: float
    ) -> Answer:
        times = max(0.0, 1000 * (ended - began)), max(0.0, 1000 * (ended - self.began))
        answer = self.answers[stage] = Answer(stage, output, segment, *times)
        return answer

    def _free(self) -> None:
        if self._lock.acquire(blocking=False):  # else whoever is inside comes here when it leaves
            self.release()
            self._lock.release()
