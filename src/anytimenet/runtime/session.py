"""One resumable run on one input or batch, at any pace; long, for it is the one object that people steer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np

from anytimenet.core import checks
from anytimenet.core.answers.standing import standing_stage
from anytimenet.core.errors import SessionError
from anytimenet.core.images.inputs import as_input, own_copy
from anytimenet.runtime.backends.backend import Output
from anytimenet.runtime.guarded_run import Answer as Answer
from anytimenet.runtime.guarded_run import GuardedRun
from anytimenet.runtime.model import Model
from anytimenet.runtime.paths import SegmentPath, check_path, path_to, stages_reached, steps_to
from anytimenet.runtime.saved_session import SavedSession
from anytimenet.runtime.saving import run_from, saved_from
from anytimenet.runtime.unfolding import Answers


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

    >>> from anytimenet import Bundle, create_net
    >>> from anytimenet.core.images.preprocessing import Preprocessing
    >>> net, p = create_net("isresnext_tiny", 2, in_channels=1), Preprocessing(8, 8, 1, (0.5,), (0.5,))
    >>> bundle = Bundle.create(net.eval(), class_names=[["cat", "dog"]], preprocessing=p)
    >>> session = Session(bundle, np.zeros((8, 8), np.uint8))
    >>> [answer.stage for answer in session.run(2)]  # in one jump
    [2]
    >>> session.step().segment  # only what stage 3 needs and stage 2 lacks
    (2, 3)
    >>> session.peek().stage, session.path, session.finished
    (3, ((0, 2), (2, 3)), True)
    """

    def __init__(self, model: Model, x: Any, *, clock: Callable[[], float] = time.perf_counter) -> None:
        began = clock()
        pixels = own_copy(as_input(x, model.manifest.preprocessing, batches=True))
        self._hold(model, GuardedRun(model.backend, pixels, clock, began))

    def _hold(self, model: Model, run: GuardedRun) -> None:
        self._manifest, self._segments, self._run = model.manifest, run.backend.segments, run

    # --- running --------------------------------------------------------------------------------------

    def step(self) -> Answer:
        """Runs to the next stage that a segment leads to; drops what was left of a path.

        Raises:
            SessionError: after the last stage; if the session is paused, cancelled, or busy in another
                thread; or if `cancel` was called meanwhile.
        """
        run = self._run
        with run:
            if run.paused:
                raise SessionError("this session is paused: resume() goes on")
            start, stop = run.at, run.stage + 1
            if (start, stop) not in self._segments:
                start, stop = self._first_ahead()
            run.left = ()
            run.backend.prepare(start, stop)
            return run.segment(start, stop)

    def advance(self, start: int, stop: int) -> Answer:
        """Runs one segment of a plan, in the least time; drops what was left of a path.

        Args:
            start: where the run is, or 0 for the input again.
            stop: a stage that is not finished.

        Raises:
            ValueError: for a segment that cannot be run here.
            SessionError: as `step` does.
        """
        run = self._run
        with run:
            if run.paused:
                raise SessionError("this session is paused: resume() goes on")
            if (start, stop) not in self._segments or start not in (0, run.at) or stop <= run.stage:
                check_path([(start, stop)], run.at, run.stage, self._segments)  # says what is wrong
            run.left = ()
            return run.segment(start, stop)

    def run(self, to: int | Sequence[tuple[int, int]], *, within_ms: float = math.inf) -> tuple[Answer, ...]:
        """Runs a path, or to a stage on the path of the fewest segments; the answers, in order.

        `pause` ends it after the segment under way, or before the first.

        Args:
            to: segments (start, stop), each from where the one before it ended, or from 0, the input, again;
                or a stage.
            within_ms: time for it. One image on a backend that stops anywhere (`Interruptible`, such as the
                native engine) runs to the end of the block in which the time is over, and the best validated
                of the stages that are finished then answers; elsewhere no segment begins any more. What is
                left of the path is left to `resume`.

        Raises:
            TypeError, ValueError: for a stage that is finished or does not exist, or for no path.
            SessionError: as `step` does.
        """
        run = self._run
        until = run.clock() + checks.number(within_ms, "within_ms", infinite=True) / 1000
        with run:
            self._take(to)
            return run.all_left() if until == math.inf else run.left_until(until, self._standing())

    def advance_until(self, stop: int, within_ms: float, *, least: int = 0) -> Answer | None:
        """Goes on to a stage or as far as the time allows; for one image where `stops_anywhere`.

        Args:
            stop: a stage that is not finished.
            within_ms: time for it; zero and less let nothing run but what `least` asks for.
            least: before this stage is finished the run does not end.

        Returns:
            The answer of the best validated stage of those that this call finished or that stand; None if it
            has answered before, or none was finished.

        Raises:
            ValueError: if the backend cannot do that, or for another stage.
            SessionError: as `step` does.
        """
        run = self._run
        if run.stops is None:
            raise ValueError(
                f"backend {run.backend.name!r} cannot end a run of {self.batch} image(s) anywhere"
            )
        with run:
            if run.paused:
                raise SessionError("this session is paused: resume() goes on")
            checks.whole_number(stop, "stop", run.stage + 1, run.last)
            run.left = ()
            return run.until(stop, within_ms, least, self._standing())

    def resume(self) -> tuple[Answer, ...]:
        """Ends a pause and runs what is left of the path; the answers, in order.

        Raises:
            SessionError: if the session is cancelled or busy.
        """
        with self._run:
            self._run.paused = False
            return self._run.all_left()

    def answers(self, to: int | Sequence[tuple[int, int]] | None = None) -> Answers[Answer]:
        """An iterator over the answers of a path as they finish, for `for` and for `async for`.

        Under `async for` segments run in a worker thread. An iteration that is left early, also by `pause`,
        leaves the rest of the path to `resume` or to another iteration; `cancel` ends it with an error.

        Args:
            to: as of `run`; None for what is left of a path, and if nothing is, for every stage ahead.

        Raises:
            TypeError, ValueError, SessionError: as `run` does.
        """
        run = self._run
        with run:
            run.paused = False
            if to is not None:
                self._take(to)
            elif not run.left:
                self._take(steps_to(run.last, run.at, run.stage, self._segments))
        return Answers(self._next_left)

    def __iter__(self) -> Answers[Answer]:
        return self.answers()

    def __aiter__(self) -> Answers[Answer]:
        return self.answers()

    def pause(self) -> None:
        """Lets no further segment start until `resume`; the one under way ends and its answer counts."""
        self._run.paused = True

    def cancel(self) -> None:
        """Ends the run for good: what a segment under way gives is dropped, the state is released.

        A backend that stops anywhere ends the segment at the next block; others run it to its end.
        Answers that are finished can still be read; whoever runs on gets a SessionError. Again does nothing.
        """
        self._run.cancel()

    # --- what there is --------------------------------------------------------------------------------

    def peek(self) -> Answer | None:
        """The answer that stands: of the best validated stage that is finished; None before the first."""
        found = tuple(self._run.answers.values())
        validated = [record.val_accuracy for record in self._manifest.stages]
        stage = standing_stage([answer.stage for answer in found], validated)
        return None if stage is None else self._run.answers[stage]

    @property
    def stage(self) -> int:
        """The last stage that is finished, 0 before the first."""
        return self._run.stage

    @property
    def finished(self) -> bool:
        """Whether that is the last stage of the net."""
        return self._run.stage == self._run.last

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._run.cancelled

    @property
    def reached(self) -> tuple[int, ...]:
        """The stages that segments lead to from the input, rising; an export may leave some out."""
        return stages_reached(self._segments)

    @property
    def stops_anywhere(self) -> bool:
        """Whether a deadline ends its runs between any two operators, and every finished stage can answer."""
        stops = self._run.stops
        return stops is not None and stops.answers_anywhere

    @property
    def path(self) -> SegmentPath:
        """The segments that have run."""
        return self._run.path

    @property
    def left(self) -> SegmentPath:
        """The segments that `resume` would run."""
        return self._run.left

    @property
    def outputs(self) -> Mapping[int, Output]:
        """The output of each finished stage."""
        found = tuple(self._run.answers.items())
        return MappingProxyType({stage: answer.output for stage, answer in found})

    @property
    def batch(self) -> int:
        """N: the images that run together."""
        return len(self._run.x)

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the session began, reading the image included."""
        return self._run.elapsed_ms

    @property
    def state_bytes(self) -> int:
        """Bytes that `drop_state` would free."""
        state = self._run.state
        return 0 if state is None else state.nbytes

    # --- its state ------------------------------------------------------------------------------------

    def drop_state(self) -> None:
        """Frees the state and keeps the answers; the run can go on, and then starts again from the input.

        Raises:
            SessionError: if the session is busy in another thread.
        """
        self._run.hold()
        try:
            self._run.release()
        finally:
            self._run.let_go()

    def save(self) -> SavedSession:
        """Copies of all that a session needs to go on in another process.

        Raises:
            SessionError: if the session is cancelled or busy.
        """
        with self._run:
            return saved_from(self._run, self._manifest)

    @classmethod
    def restore(
        cls, model: Model, saved: SavedSession, *, clock: Callable[[], float] = time.perf_counter
    ) -> Session:
        """The session that was saved, with another object of the same net.

        It goes on bit for bit where the backend and its placement are the same as well.

        Raises:
            SessionError: if it was saved with another net.
            ValueError: if its parts do not fit together, the tensors of its state are not those of this
                backend, or it has not all segments that are left.
        """
        checks.instance(saved, SavedSession, "saved", "session.save()")
        self = cls.__new__(cls)
        self._hold(model, run_from(saved, model, clock))
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

    def _take(self, to: int | Sequence[tuple[int, int]]) -> None:
        run, segments = self._run, self._segments
        if isinstance(to, Sequence):
            path = check_path(to, run.at, run.stage, segments)
        else:
            path = path_to(checks.whole_number(to, "stage", 1, run.last), run.at, run.stage, segments)
        for start, stop in path:
            run.backend.prepare(start, stop)
        run.left = path

    def _standing(self) -> tuple[int, ...]:
        """For each stage 0..K the one that answers where a run ends there."""
        return _standing_of(tuple(record.val_accuracy for record in self._manifest.stages), self._segments)

    def _next_left(self) -> Answer | None:
        run = self._run
        if run.cancelled and not self.finished:
            raise SessionError("this session was cancelled between two segments: begin another one")
        if not run.left or run.paused:
            return None
        with run:  # another thread may have dropped the state meanwhile
            return run.first_left() if run.left else None

    def _first_ahead(self) -> tuple[int, int]:
        run = self._run
        ahead = steps_to(run.last, run.at, run.stage, self._segments)
        if ahead:
            return ahead[0]
        if self.finished:
            raise SessionError(f"stage {run.last} is the last, and it is finished: nothing is left to run")
        raise SessionError(f"no segment leads on from stage {run.stage}: export or prepare more of them")

    def __repr__(self) -> str:
        run = self._run
        told = "cancelled" if run.cancelled else "paused" if run.paused else "finished" * self.finished
        return f"Session(stage {run.stage} of {run.last}, path {list(run.path)}{told and ', ' + told})"


@lru_cache(maxsize=64)
def _standing_of(
    validated: tuple[float | None, ...], segments: frozenset[tuple[int, int]]
) -> tuple[int, ...]:
    """For each stage 0..K the best validated of those up to it that segments lead to; 0 for none."""
    reached = stages_reached(segments)
    return tuple(
        standing_stage([one for one in reached if one <= stage], validated) or 0
        for stage in range(len(validated) + 1)
    )
