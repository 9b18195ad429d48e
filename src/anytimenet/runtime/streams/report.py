"""What a stream was like: how many frames were answered, how late, how regularly."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from anytimenet.core.answers.prediction import FailedPrediction, Prediction

_REMEMBERED = 10_000
"""Answers that quantiles are taken over: the last ones, so that a stream may go on for days."""


@dataclass(frozen=True, eq=False)
class StreamAnswer:
    """The answer for one frame.

    Attributes:
        frame: its number, from 0; those that were skipped count.
        prediction: what was answered; a `FailedPrediction` for a frame that cannot be read.
        skipped: frames between the one answered before and this one.
        waited_ms: milliseconds from its arrival to the begin of the work on it.
        work_ms: milliseconds that the work took.
        deadline_ms: milliseconds that it was given.
        at: seconds of the clock when the answer was there.
    """

    frame: int
    prediction: Prediction | FailedPrediction
    skipped: int
    waited_ms: float
    work_ms: float
    deadline_ms: float
    at: float

    @property
    def latency_ms(self) -> float:
        """Milliseconds from the arrival of the frame to its answer."""
        return self.waited_ms + self.work_ms

    @property
    def late(self) -> bool:
        """Whether the work took longer than it was given."""
        return self.work_ms > self.deadline_ms


@dataclass(frozen=True)
class StreamReport:
    """What a stream was like so far.

    Attributes:
        period_ms: that was asked for.
        frames: that came.
        answers: that were given.
        failed: of them, for frames that cannot be read.
        late: of them, that took longer than they were given.
        skipped: frames that a newer one replaced.
        missed: periods without an answer: no frame came, or the work before took longer.
        stages: answers of each stage.
        latency_ms: median, 95 % and largest, from the arrival of a frame to its answer.
        jitter_ms: median, 95 % and largest difference of the time between two answers from the period.
    """

    period_ms: float
    frames: int
    answers: int
    failed: int
    late: int
    skipped: int
    missed: int
    stages: Mapping[int, int]
    latency_ms: tuple[float, float, float]
    jitter_ms: tuple[float, float, float]

    def __str__(self) -> str:
        stages = ", ".join(f"{count} of stage {stage}" for stage, count in sorted(self.stages.items()))
        return (
            f"{self.frames} frames, {self.answers} answers ({stages or 'none'}), {self.late} late, "
            f"{self.failed} failed; {self.skipped} frames skipped, {self.missed} periods missed; latency "
            f"{_three(self.latency_ms)}, jitter {_three(self.jitter_ms)} (median, 95 %, most)"
        )


@dataclass
class StreamRecord:
    """Counts answers as they come.

    Attributes:
        period_ms: of the stream.
    """

    period_ms: float
    missed: int = 0
    _answers: int = 0
    _failed: int = 0
    _late: int = 0
    _skipped: int = 0
    _before: float | None = None
    _stages: Counter[int] = field(default_factory=Counter)
    _latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _jitters: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def add(self, answer: StreamAnswer) -> None:
        """Takes in an answer."""
        self._answers += 1
        self._late += answer.late
        self._skipped += answer.skipped
        if isinstance(answer.prediction, FailedPrediction):
            self._failed += 1
        else:
            self._stages[answer.prediction.stage] += 1
        self._latencies.append(answer.latency_ms)
        if self._before is not None:
            self._jitters.append(abs(1000 * (answer.at - self._before) - self.period_ms))
        self._before = answer.at

    def report(self, frames: int) -> StreamReport:
        """What it was like so far, `frames` having come."""
        return StreamReport(
            self.period_ms,
            frames,
            self._answers,
            self._failed,
            self._late,
            self._skipped,
            self.missed,
            dict(self._stages),
            _quantiles(self._latencies),
            _quantiles(self._jitters),
        )


def _quantiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Median, 95 % and largest, as values that were there; 0 of none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0, 0.0, 0.0
    return ordered[(len(ordered) - 1) // 2], ordered[math.ceil(0.95 * len(ordered)) - 1], ordered[-1]


def _three(values: tuple[float, float, float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values) + " ms"
