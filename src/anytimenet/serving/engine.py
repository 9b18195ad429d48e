"""The scheduler of one model behind a lock, with what runs its segments and tells its clients."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from anytimenet.core.errors import SessionError
from anytimenet.runtime.model import Model
from anytimenet.serving.asked import Asked, Notify, prediction_of, told
from anytimenet.serving.overhead import Overhead
from anytimenet.serving.request import Done, Overloaded, Request, StageDone, Update
from anytimenet.serving.reserve import Reserve
from anytimenet.serving.scheduling.jobs import Job, Outcome, Work
from anytimenet.serving.scheduling.scheduler import Scheduler
from anytimenet.serving.segments import Ran, SegmentRunner
from anytimenet.serving.tally import ServerStatus, Tally

_log = logging.getLogger(__name__)

_BELIEVED_S = 0.5
"""How long the slowdown is believed while requests are refused for it and no segment runs."""
NAP_S = 0.5
"""Nobody sleeps longer: a clock that was set must not hold anybody up."""


class Engine:
    """Every step that requests go through, for the threads that run them; see `ModelServer`.

    Args:
        model: that is served.
        scheduler: that decides.
        reserve: which the scheduler keeps free before deadlines.
        clock: seconds.
        threads: that run segments.

    Attributes:
        wake: called, without the lock, when there may be work; None where threads wait for it by themselves.
        closed: whether the threads are to end.
    """

    def __init__(
        self,
        model: Model,
        scheduler: Scheduler,
        reserve: Reserve,
        clock: Callable[[], float],
        threads: int,
    ) -> None:
        self._manifest, self._scheduler, self._clock, self._reserve = (
            model.manifest,
            scheduler,
            clock,
            reserve,
        )
        self._segments = SegmentRunner(model, clock)
        self._changed = threading.Condition(threading.Lock())
        self._tally = Tally(model.manifest.num_stages, threads, clock)
        self._overhead, self._beside = Overhead(threads), Reserve()
        self._ready = self._segments.warm_up(scheduler.costs)
        self._learnt_at = clock()
        self.closed = False
        self.wake: Callable[[], None] | None = None

    # --- for clients ----------------------------------------------------------------------------------

    def admit(self, request: Request, asked: Asked) -> Job:
        """Takes a request into the queue, or raises `Overloaded`."""
        with self._changed:
            self._arrival()
            try:
                job = self._scheduler.submit(request, self._clock(), asked)
            except Overloaded as refused:
                self._note_refusal(refused)
                raise
            ended = self._settled()
            self._call_for_work()
        self._tell(ended)
        return job

    def check(self, request: Request) -> None:
        """Refuses what `admit` would refuse now."""
        with self._changed:
            try:
                self._scheduler.check(request, self._clock())
            except Overloaded as refused:
                self._arrival()
                self._note_refusal(refused)
                raise

    def cancel(self, job: Job) -> None:
        """A client went away."""
        with self._changed:
            self._scheduler.cancel(job, self._clock())
            self._segments.stop(job)
            ended = self._settled()
            self._call_for_work()
        self._tell(ended)

    def status(self, policy: str, threads: int) -> ServerStatus:
        """What is done now, and has been done so far."""
        with self._changed:
            view, tally = self._scheduler.view, self._tally
            return ServerStatus(
                policy=policy,
                waiting=len(view.waiting),
                paused=len(view.paused),
                running=len(view.running),
                threads=threads,
                slowdown=view.costs.slow,
                utilisation=tally.utilisation,
                outcomes=dict(tally.outcomes),
                stages=dict(tally.stages),
                reserve_ms=1000 * self._scheduler.reserve_s,
                closing=self._scheduler.closing,
            )

    def driven(self, wake: Callable[[], None] | None) -> None:
        """From now on somebody else takes the steps, and is woken; None: the threads do."""
        with self._changed:
            self.wake = wake
            self._changed.notify_all()
        if wake is not None:
            wake()

    def _arrival(self) -> None:
        self._overhead.came()
        self._scheduler.costs.overhead_s = self._overhead.seconds

    def _note_refusal(self, refused: Overloaded) -> None:
        """Counts it, and doubts the slowdown.

        While nobody is let in nothing is learnt of how slow the machine is, so that a bad moment would be
        believed for ever: the estimate goes back towards the profile until somebody is tried again.
        """
        self._tally.refused(refused.reason)
        now = self._clock()
        if refused.reason != "closing" and not 0 <= now - self._learnt_at <= _BELIEVED_S:
            self._learnt_at = now
            self._scheduler.costs.slowdown.observe(1.0, 1.0)

    def _call_for_work(self) -> None:
        """The lock is held."""
        if self.wake is None:
            self._changed.notify()
        else:
            self.wake()

    # --- for threads ----------------------------------------------------------------------------------

    def work(self) -> None:
        """Runs segments until it is closed."""
        while not self.closed:
            with self._changed:
                work = None if self.wake is not None else self._scheduler.next_work(self._clock())
                ended = self._settled()
                if work is None and not ended and not self.closed:
                    self._changed.wait(NAP_S if self.wake is not None else self._nap_s())
            self._tell(ended)
            if work is not None:
                self._run(work)

    def step(self) -> float | None:
        """Runs the next segment at once; seconds until there is more to do, None if somebody has to come."""
        with self._changed:
            work = self._scheduler.next_work(self._clock())
            ended = self._settled()
        self._tell(ended)
        if work is not None:
            self._run(work)
        with self._changed:
            view = self._scheduler.view
            if not (view.waiting or view.paused):
                return None
            return 0.0 if work is not None else self._nap_s()

    def _nap_s(self) -> float:
        """Until something is due. The lock is held."""
        wake_at = self._scheduler.wake_at()
        return NAP_S if wake_at is None else min(max(wake_at - self._clock(), 0.0005), NAP_S)

    def _run(self, work: Work) -> None:
        began, cpu_began = self._clock(), time.thread_time()
        found = self._ran(work)
        self._over(work, found)
        self._overhead.ran(time.thread_time() - cpu_began)
        if isinstance(found, Ran) and work.start == 0:
            self._beside.took((self._clock() - began - found.took_s) / max(len(found.answers), 1))
            self._scheduler.costs.begin_s = self._beside.usual_s

    def _ran(self, work: Work) -> Ran | Exception:
        found: Ran | Exception
        try:
            found = self._segments.run(work)
        except Exception as error:
            found = error
        else:
            for job, answer in zip(work.group.jobs, found.answers, strict=True):
                if answer and job.request.stream and not job.cancelled:
                    prediction = prediction_of(self._manifest, job, answer)
                    _call(job.tag.notify, StageDone(answer, prediction))
        return found

    def _over(self, work: Work, found: Ran | Exception) -> None:
        """A segment has ended, or failed: who is to be answered is told."""
        ended_at = self._clock()
        with self._changed:
            if work not in self._scheduler.view.running:  # it was given up meanwhile
                self._segments.let_go(work.group)
                return
            if isinstance(found, Exception):
                self._scheduler.failed(work, ended_at, found)
            else:
                self._learn(work, found.stage, len(work.group.jobs), found.took_s)
                self._tally.ran(found.took_s)
                self._scheduler.finished(work, self._clock(), found.answers, found.stage)
            ended = self._settled()
            if self.wake is None:
                self._changed.notify_all()
        self._tell(ended, ran=ended_at)

    def _learn(self, work: Work, stage: int, batch: int, took_s: float) -> None:
        """The slowdown learns from a whole segment that has run before; the first run prepares it."""
        ran = work.start, stage, batch
        if ran in self._ready and stage == work.stop:
            self._scheduler.costs.observe(*ran, took_s)
            self._learnt_at = self._clock()
        self._ready.add(ran)

    # --- ends -----------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Admits nobody any more and refuses who waits."""
        with self._changed:
            self.wake = None
            self._scheduler.close(self._clock())
            ended = self._settled()
            self._changed.notify_all()
        self._tell(ended)

    def close(self, wait: Callable[[], float]) -> None:
        """Gives everybody who has begun time to end, and then up.

        Args:
            wait: tells how many seconds there are left.
        """
        with self._changed:
            while not self._scheduler.idle and (left := wait()) > 0:
                self._changed.wait(left)
            self.closed = True
            ended = self._give_up()
            self._changed.notify_all()
        self._tell(ended)

    def _settled(self) -> list[Outcome]:
        """Who has ended; the memory of groups that are over goes back. The lock is held."""
        for group in self._scheduler.groups_over():
            self._segments.let_go(group)
        return self._scheduler.outcomes()

    def _tell(self, ended: list[Outcome], ran: float | None = None) -> None:
        """Makes the predictions of those who have ended and tells them; no lock is held."""
        for outcome in ended:
            update = told(self._manifest, outcome, self._clock)
            with self._changed:
                self._tally.ended(update)
            _call(outcome.job.tag.notify, update)
            if ran is not None and isinstance(update, Done):
                self._reserve.took(self._clock() - ran)
                self._scheduler.reserve_s = self._reserve.seconds

    def _give_up(self) -> list[Outcome]:
        """Everybody who is still there when the server ends. The lock is held."""
        error = SessionError("the server was closed before this request was answered")
        now, view = self._clock(), self._scheduler.view
        for work in list(view.running):
            for job in work.group.jobs:
                self._segments.stop(job)
            self._scheduler.failed(work, now, error)
        return [*self._settled(), *self._scheduler.abandon(error)]


def _call(notify: Notify, update: Update) -> None:
    try:
        notify(update)
    except Exception:
        _log.exception("a client could not be told of its request")
