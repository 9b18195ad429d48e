"""Answers a stream of frames: the newest one, once a period."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from anytimenet.core import checks
from anytimenet.core.answers.prediction import FailedPrediction, Prediction
from anytimenet.core.errors import AnytimeNetError, DataError, NotFiniteError, SessionError
from anytimenet.runtime.streams.mailbox import CLOSED, Frame, Mailbox
from anytimenet.runtime.streams.rate_guard import RateGuard
from anytimenet.runtime.streams.report import StreamAnswer, StreamRecord, StreamReport

_log = logging.getLogger(__name__)

_SLACK = 0.1
"""Of a period, that one may begin late without moving the later ones."""

Predict = Callable[[Any, float], Prediction]
"""`predict(frame, deadline_ms)` answers one frame."""


class StreamRunner:
    """Answers the newest frame, at most once a period, so that a slow moment makes no queue.

    A period begins when a frame is taken, once the one before it is over; the work on the frame is
    given what the period has. Frames that come meanwhile replace each other. After work that took longer, the
    newest frame is taken at once. A warning is logged when the work no longer fits into the period, and when
    it does again.

    Args:
        predict: called with a frame and the milliseconds that it may take.
        period_ms: milliseconds from one answer to the next: 33.3 for 30 frames a second.
        reserve_ms: of the period, for whoever handles the answers; `predict` is given the rest.
        clock, sleep: seconds; for tests.
        wait: as of `Mailbox`; for tests.

    Raises:
        TypeError, ValueError: for a period that is no positive number, or a reserve that fills it.

    Example::

        runner = StreamRunner(lambda frame, ms: predictor.predict(frame, deadline_ms=ms), period_ms=33.3)
        for answer in runner.run(camera):
            print(answer.frame, answer.prediction.label, answer.skipped)
        print(runner.report())
    """

    def __init__(
        self,
        predict: Predict,
        period_ms: float,
        *,
        reserve_ms: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], object] = time.sleep,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        checks.function(predict, "predict", "lambda frame, ms: bundle.predict(frame, deadline_ms=ms)")
        self.period_ms = checks.number(period_ms, "period_ms", above=0)
        self.deadline_ms = self.period_ms - checks.number(reserve_ms, "reserve_ms", 0)
        if self.deadline_ms <= 0:
            raise ValueError(f"reserve_ms {reserve_ms} leaves nothing of the period of {period_ms} ms")
        self._predict, self._clock, self._sleep = predict, clock, sleep
        self._mailbox = Mailbox(clock, wait)
        self._guard = RateGuard(self.period_ms)
        self._record = StreamRecord(self.period_ms)
        self._fails = False

    def put(self, frame: Any) -> None:
        """Hands over a frame, from any thread, and returns at once; it replaces one that still waits.

        Raises:
            SessionError: if the stream is closed.
        """
        self._mailbox.put(frame)

    def close(self) -> None:
        """No further frame comes: `answers` ends after the one that waits."""
        self._mailbox.close()

    def run(self, frames: Iterable[Any]) -> Iterator[StreamAnswer]:
        """Reads frames in a thread of its own, as fast as they come, and yields the answers.

        Raises:
            SessionError: if the stream is closed.
            Exception: what `frames` breaks off with, once the last frame was answered.
        """
        if self._mailbox.closed:
            raise SessionError(CLOSED)
        reader = threading.Thread(target=self._read, args=(frames,), daemon=True, name="anytimenet-frames")
        reader.start()
        try:
            yield from self.answers()
        finally:
            self.close()

    def answers(self) -> Iterator[StreamAnswer]:
        """The answers for frames that are `put`, until `close`.

        A frame that cannot be read or answered gets a `FailedPrediction`, and the first of several in a row
        is logged; what no frame could change, such as a missing cost table, is raised.
        """
        period, mailbox = self.period_ms / 1000, self._mailbox
        due: float | None = None  # when the next period may begin
        began: float | None = None
        while not (mailbox.closed and mailbox.empty):
            frame = self._newest(due)
            if frame is None:
                continue
            now = self._clock()
            if began is not None:
                self._record.missed += max(0, int((now - began) / period + _SLACK) - 1)
            began = now
            # Sleep ends a little late each time, and frames come a little late: that must not add up.
            on_time = due is not None and abs(now - due) < _SLACK * period
            due = (due if due is not None and on_time else now) + period
            answer = self._answer(frame, now)
            self._record.add(answer)
            yield answer
            if said := self._guard.add(max(0.0, 1000 * (self._clock() - began))):
                _log.warning("%s", said)
        mailbox.take(0)  # raises what the source broke off with

    @property
    def period_too_short(self) -> bool:
        """Whether the work, that on the answers included, takes longer than a period."""
        return self._guard.too_short

    def report(self) -> StreamReport:
        """What the stream was like so far."""
        return self._record.report(self._mailbox.count)

    def _newest(self, due: float | None) -> Frame | None:
        """The newest frame once the period before is over; None if none came for another."""
        period = self.period_ms / 1000
        left = 0.0 if due is None else due - self._clock()
        if left > 0:
            self._sleep(min(left, period))  # a clock that was set back must not hold it for long
        return self._mailbox.take(period)

    def _answer(self, frame: Frame, began: float) -> StreamAnswer:
        prediction: Prediction | FailedPrediction
        try:
            prediction = self._predict(frame.content, self.deadline_ms)
            self._fails = False
        except (ValueError, OSError) as error:
            if isinstance(error, AnytimeNetError) and not isinstance(error, DataError | NotFiniteError):
                raise
            if not self._fails:
                _log.warning("frame %d is not answered: %s", frame.number, error)
            self._fails = True
            prediction = FailedPrediction(frame.number, str(error))
        ended = self._clock()
        return StreamAnswer(
            frame.number,
            prediction,
            frame.skipped,
            waited_ms=max(0.0, 1000 * (began - frame.arrived)),
            work_ms=max(0.0, 1000 * (ended - began)),
            deadline_ms=self.deadline_ms,
            at=ended,
        )

    def _read(self, frames: Iterable[Any]) -> None:
        error: BaseException | None = None
        try:
            for frame in frames:
                if self._mailbox.closed:
                    return
                self.put(frame)
        except BaseException as caught:
            error = None if self._mailbox.closed else caught
        self._mailbox.close(error)
