"""One resumable run of a net on one input or batch: stages finish one after the other, at any pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from anytimenet.core import checks
from anytimenet.core.answers.standing import standing_stage
from anytimenet.core.errors import SessionError
from anytimenet.core.images.inputs import as_input, own_copy
from anytimenet.runtime.backends.backend import Output, State
from anytimenet.runtime.model import Model
from anytimenet.runtime.paths import SegmentPath, check_path, path_to, steps_to
from anytimenet.runtime.saved_session import SavedSession, fingerprint
from anytimenet.runtime.unfolding import Answers

_CANCELLED = "this session was cancelled: begin another one"


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


class Session:
    """One run on one input: as far as asked for, then further, or never.

    A run that was paused, saved and restored, or begun again after `cancel`, is bit-equal to an uninterrupted
    one of the same path at the same batch size. Different paths agree within the backend's tolerance.

    One thread runs segments at a time, and a second one gets a SessionError; `peek`, `pause`, `cancel` and
    the properties may be called from any thread at any time. After a segment that failed, or `drop_state`,
    the answers stay, what was left of a path is forgotten, and the run goes on from the input again.

    Args:
        model: what has a `manifest` and a `backend`: a bundle, an exported folder, a `PreparedModel`.
        x: a path, a PIL image, a uint8 array `(H, W, C)`; or standardised floats `(N, C, H, W)`, copied.
        clock: seconds; for tests.

    Raises:
        DataError: for an image that cannot be read.
        ValueError: for an input of another shape, an empty batch, NaN or infinite pixels.

    Example::

        session = Session(bundle, "cat.png")
        session.run(2)              # to stage 2 in one jump where there is one
        session.peek().output       # what stands now
        session.step()              # one stage more: only what stage 3 needs and stage 2 lacks
    """

    def __init__(self, model: Model, x: Any, *, clock: Callable[[], float] = time.perf_counter) -> None:
        began = clock()
        pixels = own_copy(as_input(x, model.manifest.preprocessing, batches=True))
        self._set_up(model, pixels, clock, began)

    def _set_up(self, model: Model, x: np.ndarray, clock: Callable[[], float], began: float) -> None:
        self._manifest, self._backend, self._segments = model.manifest, model.backend, model.backend.segments
        self._x, self._clock, self._began = x, clock, began
        self._last = self._backend.num_stages
        self._state: State | None = None
        self._at = 0  # the stage of the state; 0 also where none is held, for x is
        self._left: SegmentPath = ()
        self._answers: dict[int, Answer] = {}
        self._path: SegmentPath = ()
        self._paused = self._cancelled = False
        self._lock = threading.Lock()

    # --- running --------------------------------------------------------------------------------------

    def step(self) -> Answer:
        """Runs to the next stage that a segment leads to; drops what was left of a path.

        Raises:
            SessionError: after the last stage; if the session is paused, cancelled, or busy in another
                thread; or if `cancel` was called meanwhile.
        """
        self._enter()
        try:
            self._refuse_pause()
            at, stage = self._at, self.stage
            start, stop = at, stage + 1
            if (start, stop) not in self._segments:
                ahead = steps_to(self._last, at, stage, self._segments)
                if not ahead:
                    raise SessionError(self._nothing_left())
                start, stop = ahead[0]
            self._left = ()
            self._backend.prepare(start, stop)
            return self._segment(start, stop)
        finally:
            self._leave()

    def run(self, to: int | Sequence[tuple[int, int]]) -> tuple[Answer, ...]:
        """Runs a path, or to a stage on the path of the fewest segments; the answers, in order.

        `pause` ends it after the segment under way, or before the first.

        Args:
            to: segments (start, stop), each from where the one before it ended, or from 0, the input, again;
                or a stage.

        Raises:
            TypeError, ValueError: for a stage that is finished or does not exist, or for no path.
            SessionError: as `step` does.
        """
        self._enter()
        try:
            self._take(to)
            return self._all_left()
        finally:
            self._leave()

    def resume(self) -> tuple[Answer, ...]:
        """Ends a pause and runs what is left of the path; the answers, in order.

        Raises:
            SessionError: if the session is cancelled or busy.
        """
        self._enter()
        try:
            self._paused = False
            return self._all_left()
        finally:
            self._leave()

    def answers(self, to: int | Sequence[tuple[int, int]] | None = None) -> Answers[Answer]:
        """An iterator over the answers of a path as they finish, for `for` and for `async for`.

        Under `async for` segments run in a worker thread. An iteration that is left early, also by `pause`,
        leaves the rest of the path to `resume` or to another iteration.

        Args:
            to: as of `run`; None for what is left of a path, and if nothing is, for every stage ahead.

        Raises:
            TypeError, ValueError, SessionError: as `run` does.
        """
        self._enter()
        try:
            self._paused = False
            if to is not None:
                self._take(to)
            elif not self._left:
                self._take(steps_to(self._last, self._at, self.stage, self._segments))
            return Answers(self._next_left)
        finally:
            self._leave()

    def __iter__(self) -> Answers[Answer]:
        return self.answers()

    def __aiter__(self) -> Answers[Answer]:
        return self.answers()

    def pause(self) -> None:
        """Lets no further segment start until `resume`; the one under way ends and its answer counts."""
        self._paused = True

    def cancel(self) -> None:
        """Ends the run for good: what a segment under way gives is dropped, the state is released.

        Answers that are finished can still be read; whoever runs on gets a SessionError. Again does nothing.
        """
        self._cancelled = True
        self._free_if_cancelled()

    # --- what there is --------------------------------------------------------------------------------

    def peek(self) -> Answer | None:
        """The answer that stands: of the best validated stage that is finished; None before the first."""
        found = tuple(self._answers.values())
        validated = [record.val_accuracy for record in self._manifest.stages]
        stage = standing_stage([answer.stage for answer in found], validated)
        return None if stage is None else self._answers[stage]

    @property
    def stage(self) -> int:
        """The last stage that is finished, 0 before the first."""
        return self._path[-1][1] if self._path else 0

    @property
    def finished(self) -> bool:
        """Whether that is the last stage of the net."""
        return self.stage == self._last

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    @property
    def path(self) -> SegmentPath:
        """The segments that have run."""
        return self._path

    @property
    def left(self) -> SegmentPath:
        """The segments that `resume` would run."""
        return self._left

    @property
    def outputs(self) -> Mapping[int, Output]:
        """The output of each finished stage."""
        return MappingProxyType({stage: answer.output for stage, answer in tuple(self._answers.items())})

    @property
    def batch(self) -> int:
        """N: the images that run together."""
        return len(self._x)

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the session began, reading the image included."""
        return max(0.0, 1000 * (self._clock() - self._began))

    @property
    def state_bytes(self) -> int:
        """Bytes that `drop_state` would free."""
        state = self._state
        return 0 if state is None else state.nbytes

    # --- its state ------------------------------------------------------------------------------------

    def drop_state(self) -> None:
        """Frees the state and keeps the answers; the run can go on, and then starts again from the input.

        Raises:
            SessionError: if the session is busy in another thread.
        """
        self._enter(cancelled_too=True)
        try:
            self._release()
            self._left = ()
        finally:
            self._leave()

    def save(self) -> SavedSession:
        """Copies of all that a session needs to go on in another process.

        Raises:
            SessionError: if the session is cancelled or busy.
        """
        self._enter()
        try:
            state = self._state
            return SavedSession(
                net=fingerprint(self._manifest),
                x=self._x.copy(),
                at=self._at,
                tensors={} if state is None else self._backend.save(state),
                path=self._path,
                left=self._left,
                outputs={stage: answer.output for stage, answer in self._answers.items()},
                times_ms={stage: (answer[3], answer[4]) for stage, answer in self._answers.items()},
                elapsed_ms=self.elapsed_ms,
            )
        finally:
            self._leave()

    @classmethod
    def restore(
        cls, model: Model, saved: SavedSession, *, clock: Callable[[], float] = time.perf_counter
    ) -> Session:
        """The session that was saved, with another object of the same net.

        It goes on bit for bit where the backend and its placement are the same as well.

        Raises:
            SessionError: if it was saved with another net.
            ValueError: if the tensors of its state are not those of this backend.
        """
        checks.instance(saved, SavedSession, "saved", "session.save()")
        if saved.net != fingerprint(model.manifest):
            raise SessionError("this session was saved with another net: restore it with that one")
        self = cls.__new__(cls)
        self._set_up(model, saved.x.copy(), clock, clock() - saved.elapsed_ms / 1000)
        if saved.at:
            self._state = self._backend.restore(saved.at, saved.tensors)
            self._at = saved.at
        self._path, self._left = saved.path, saved.left
        for start, stop in saved.path:
            times = saved.times_ms[stop]
            self._answers[stop] = Answer(stop, saved.outputs[stop], (start, stop), *times)
        return self

    @classmethod
    def warm_up(cls, model: Model, path: Sequence[tuple[int, int]] | None = None, *, batch: int = 1) -> None:
        """Prepares the segments of a path and runs them once, on zeros: the first real run is no slower.

        Args:
            model: what is run.
            path: the segments; None for one stage after the other.
            batch: images.

        Raises:
            TypeError, ValueError: as `run` does.
        """
        shape = (checks.whole_number(batch, "batch", 1), *model.manifest.input_shape)
        session = cls(model, np.zeros(shape, np.float32))
        for _ in session.answers(path):
            pass
        session.drop_state()

    # --- inside ---------------------------------------------------------------------------------------

    def _enter(self, *, cancelled_too: bool = False) -> None:
        if not self._lock.acquire(blocking=False):
            raise SessionError("this session is running in another thread: give each thread its own session")
        if self._cancelled and not cancelled_too:
            self._leave()
            raise SessionError(_CANCELLED)

    def _leave(self) -> None:
        self._lock.release()
        if self._cancelled:  # perhaps since the last look at it
            self._free_if_cancelled()

    def _free_if_cancelled(self) -> None:
        if self._lock.acquire(blocking=False):  # else whoever holds it comes here when it leaves
            self._release()
            self._left = ()
            self._lock.release()

    def _release(self) -> None:
        state, self._state, self._at = self._state, None, 0
        if state is not None:
            self._backend.release(state)

    def _take(self, to: int | Sequence[tuple[int, int]]) -> None:
        at, stage = self._at, self.stage
        if isinstance(to, Sequence):
            path = check_path(to, at, stage, self._segments)
        else:
            path = path_to(checks.whole_number(to, "stage", 1, self._last), at, stage, self._segments)
        for start, stop in path:
            self._backend.prepare(start, stop)
        self._left = path

    def _all_left(self) -> tuple[Answer, ...]:
        found = []
        while self._left and not self._paused:
            found.append(self._first_left())
        return tuple(found)

    def _next_left(self) -> Answer | None:
        if not self._left or self._paused:
            return None
        self._enter()
        try:
            return self._first_left()
        finally:
            self._leave()

    def _first_left(self) -> Answer:
        start, stop = self._left[0]
        self._left = self._left[1:]
        if self._cancelled:
            raise SessionError(_CANCELLED)
        return self._segment(start, stop)

    def _segment(self, start: int, stop: int) -> Answer:
        began = self._clock()
        if start == 0:
            self._release()
        state, self._state, self._at = self._state, None, 0
        try:
            if state is None:
                state = self._backend.begin(self._x)
            state, output = self._backend.run(start, stop, state)
        except BaseException:
            self._left = ()
            if state is not None:
                self._backend.release(state)
            raise
        ended = self._clock()
        if self._cancelled or stop == self._last:
            self._backend.release(state)
        else:
            self._state, self._at = state, stop
        if self._cancelled:
            self._left = ()
            raise SessionError("this session was cancelled while a segment ran, whose result is dropped")
        answer = Answer(
            stop,
            output,
            (start, stop),
            max(0.0, 1000 * (ended - began)),
            max(0.0, 1000 * (ended - self._began)),
        )
        self._answers[stop] = answer
        self._path = (*self._path, (start, stop))
        return answer

    def _refuse_pause(self) -> None:
        if self._paused:
            raise SessionError("this session is paused: resume() goes on")

    def _nothing_left(self) -> str:
        if self.finished:
            return f"stage {self._last} is the last, and it is finished: nothing is left to run"
        return f"no segment leads on from stage {self.stage}: export or prepare more of them"

    def __repr__(self) -> str:
        told = "cancelled" if self._cancelled else "paused" if self._paused else "finished" * self.finished
        return f"Session(stage {self.stage} of {self._last}, path {list(self._path)}{told and ', ' + told})"
