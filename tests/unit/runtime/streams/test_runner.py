"""A stream is answered once a period, with the newest frame, whatever happens to work, frames and clock."""

import logging
import threading

import numpy as np
import pytest
from tests.unit.runtime.fakes.clock import FakeClock

from anytimenet.core.answers.prediction import FailedPrediction, Prediction
from anytimenet.core.errors import CostTableError, DataError, SessionError
from anytimenet.runtime.streams.rate_guard import RateGuard
from anytimenet.runtime.streams.runner import StreamRunner


def answer_of(stage=1):
    return Prediction(("cat",), (np.array([1.0]),), stage=stage, elapsed_ms=1.0, macs=9)


class Stream:
    """A runner on a fake clock: frame n comes at a given second and takes a given time to answer."""

    def __init__(self, arrivals, work_ms, period_ms=10.0, **more):
        self.clock = FakeClock()
        self.deadlines = []
        self.runner = StreamRunner(
            self._predict, period_ms, clock=self.clock, sleep=self.clock.sleep, wait=self.clock.wait, **more
        )
        self.work_ms = work_ms if callable(work_ms) else lambda frame: work_ms
        for number, arrival in enumerate(arrivals):
            self.clock.at(arrival / 1000, lambda number=number: self.runner.put(number))
        self.clock.at((arrivals[-1] + 0.001) / 1000, self.runner.close)

    def _predict(self, frame, deadline_ms):
        self.deadlines.append(deadline_ms)
        self.clock.advance(self.work_ms(frame) / 1000)
        return answer_of()

    def answered(self):
        return [answer.frame for answer in self.runner.answers()]


def test_frames_that_come_in_time_are_all_answered():
    stream = Stream([0, 10, 20, 30], work_ms=4)
    found = list(stream.runner.answers())
    assert [answer.frame for answer in found] == [0, 1, 2, 3]
    assert [round(answer.latency_ms, 6) for answer in found] == [4] * 4
    report = stream.runner.report()
    assert (report.frames, report.answers, report.late, report.skipped, report.missed) == (4, 4, 0, 0, 0)
    assert report.jitter_ms == pytest.approx((0, 0, 0), abs=1e-9)
    assert stream.deadlines == [10.0] * 4


def test_only_the_newest_frame_waits():
    # Frames come every 4 ms and a period takes 10: of those that come meanwhile the last is taken.
    stream = Stream([0, 4, 8, 12, 16, 20], work_ms=3)
    found = list(stream.runner.answers())
    assert [(answer.frame, answer.skipped) for answer in found] == [(0, 0), (2, 1), (5, 2)]
    assert [round(answer.waited_ms, 6) for answer in found] == [0, 2, 0]
    report = stream.runner.report()
    assert (report.frames, report.answers, report.skipped) == (6, 3, 3)


def test_no_two_answers_come_within_one_period():
    stream = Stream(range(0, 100, 3), work_ms=1)
    begins = [answer.at - answer.work_ms / 1000 for answer in stream.runner.answers()]
    assert np.diff(begins).min() >= 0.010 - 1e-9


def test_work_that_takes_longer_makes_no_queue():
    stream = Stream(range(0, 100, 10), work_ms=lambda frame: 35 if frame == 2 else 4)
    found = list(stream.runner.answers())
    # Frame 2 is ready at 55 ms: frames 3 and 4 were replaced by 5, which is taken at once.
    assert [answer.frame for answer in found] == [0, 1, 2, 5, 6, 7, 8, 9]
    assert [answer.late for answer in found][:4] == [False, False, True, False]
    report = stream.runner.report()
    assert (report.late, report.skipped, report.missed) == (1, 2, 2)
    assert report.latency_ms[2] == pytest.approx(35)


def test_the_delay_of_one_period_does_not_move_all_later_ones():
    # Each sleep ends half a millisecond late; a frame comes every 10 ms, and none is lost in 200 of them.
    stream = Stream(range(0, 2000, 10), work_ms=2)
    exact = stream.clock.sleep
    stream.runner._sleep = lambda seconds: exact(seconds + 0.0005)
    assert stream.answered() == list(range(200))


def test_periods_without_a_frame_are_missed_and_nothing_is_made_up():
    stream = Stream([0, 10, 55, 65], work_ms=4)
    assert stream.answered() == [0, 1, 2, 3]
    assert stream.runner.report().missed == 3


def test_jitter_is_how_far_answers_are_from_the_period():
    # A frame comes every 10 ms; the third takes 8 ms instead of 4, so that its answer is 4 ms late.
    stream = Stream([0, 10, 20, 30], work_ms=lambda frame: 8 if frame == 2 else 4)
    stream.answered()
    assert stream.runner.report().jitter_ms == pytest.approx((4, 4, 4))


def test_a_reserve_is_kept_for_whoever_handles_the_answers():
    stream = Stream([0, 10], work_ms=4, reserve_ms=2.5)
    stream.answered()
    assert stream.deadlines == [7.5, 7.5]
    with pytest.raises(ValueError, match="reserve_ms 10 leaves nothing of the period of 10"):
        Stream([0], work_ms=1, reserve_ms=10)


def test_a_period_that_is_shorter_than_the_work_is_told_once_and_so_is_its_end(caplog):
    stream = Stream(range(0, 2000, 10), work_ms=lambda frame: 13.5 if frame < 100 else 4)
    told = []
    with caplog.at_level(logging.WARNING, logger="anytimenet"):
        for answer in stream.runner.answers():
            told.append((answer.frame, stream.runner.period_too_short))
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "takes 13.5 ms and the period is 10.0 ms: frames are skipped; give 14 ms or more" in messages[0]
    assert "fits into 10.0 ms again" in messages[1]
    changes = [frame for (frame, now), (_, before) in zip(told[1:], told, strict=False) if now != before]
    assert len(changes) == 2
    assert 15 <= changes[0] < 40
    assert 100 < changes[1] < 120


def test_the_work_of_whoever_handles_the_answers_counts():
    stream = Stream(range(0, 600, 10), work_ms=4)
    for _ in stream.runner.answers():
        stream.clock.advance(0.009)
    assert stream.runner.period_too_short


def test_a_frame_that_cannot_be_read_fails_alone_and_is_told_once_for_several_in_a_row(caplog):
    def work(frame):
        if frame in (1, 2, 4):
            raise DataError(f"frame {frame} is cut")
        return 4

    stream = Stream([0, 10, 20, 30, 40], work_ms=work)
    found = [answer.prediction for answer in stream.runner.answers()]
    assert found[1] == FailedPrediction(1, "frame 1 is cut")
    assert [prediction.error is None for prediction in found] == [True, False, False, True, False]
    assert stream.runner.report().failed == 3
    assert [record.getMessage() for record in caplog.records] == [
        "frame 1 is not answered: frame 1 is cut",
        "frame 4 is not answered: frame 4 is cut",
    ]


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), CostTableError("no table")])
def test_what_no_frame_could_change_ends_the_stream(error):
    def work(frame):
        raise error

    with pytest.raises(type(error), match=str(error)):
        Stream([0, 10], work_ms=work).answered()


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_jumps_holds_nothing_up(jump):
    stream = Stream(range(0, 100, 10), work_ms=4)
    clock, real = stream.clock, FakeClock.__call__
    jumped = []

    class Jumping(FakeClock):
        def __call__(self):
            return real(self) + (jump if jumped else 0.0)

    clock.__class__ = Jumping
    answered = []
    for answer in stream.runner.answers():
        answered.append(answer.frame)
        if answer.frame == 4:
            jumped.append(True)
        assert answer.work_ms >= 0
        assert answer.waited_ms >= 0
    assert answered[:5] == [0, 1, 2, 3, 4]
    assert answered[-1] == 9
    assert len(answered) >= 8
    assert max(clock.slept) <= 0.010 + 1e-9


def test_frames_of_a_source_are_read_in_a_thread_of_their_own():
    ready = threading.Semaphore(0)

    def camera():
        for number in range(5):
            yield number
            assert ready.acquire(timeout=10)

    def predict(frame, deadline_ms):
        ready.release()
        return answer_of(stage=2)

    runner = StreamRunner(predict, period_ms=0.1)
    assert [answer.frame for answer in runner.run(camera())] == [0, 1, 2, 3, 4]
    assert runner.report().stages == {2: 5}
    assert "5 frames, 5 answers (5 of stage 2)" in str(runner.report())
    with pytest.raises(SessionError, match="this stream is closed"):
        runner.put(5)
    with pytest.raises(SessionError, match="this stream is closed"):
        next(runner.run(camera()))


def test_what_a_source_breaks_off_with_is_raised_after_its_last_frame():
    def camera():
        yield 0
        raise OSError("the camera was unplugged")

    answers = StreamRunner(lambda frame, ms: answer_of(), period_ms=0.1).run(camera())
    assert next(answers).frame == 0
    with pytest.raises(OSError, match="unplugged"):
        next(answers)


def test_a_stream_that_is_left_stops_its_source():
    stopped = threading.Event()

    def camera():
        try:
            while True:
                yield 0
        finally:
            stopped.set()

    runner = StreamRunner(lambda frame, ms: answer_of(), period_ms=0.1)
    for _ in runner.run(camera()):
        break
    assert stopped.wait(10)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None, 10), TypeError, "predict must be a function"),
        ((len, 0), ValueError, "period_ms must be above 0"),
        ((len, float("nan")), ValueError, "period_ms must be a finite number"),
        ((len, "fast"), TypeError, "period_ms must be a number"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        StreamRunner(*arguments)


def test_one_slow_work_is_no_reason_for_a_longer_period():
    guard = RateGuard(10.0, window=15)
    said = [guard.add(work_ms) for work_ms in [*[12.5] * 14, 400.0]]
    assert said[:-1] == [None] * 14
    assert said[-1].endswith("frames are skipped; give 13 ms or more")
