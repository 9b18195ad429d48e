"""A resident model, its scheduler and its engine threads."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from anytimenet.core import checks
from anytimenet.core.errors import SessionError
from anytimenet.core.images.inputs import check_finite_pixels, check_shape
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.core.manifest.tables import check_table
from anytimenet.runtime.backends.interruptible import interruptible
from anytimenet.runtime.model import Model
from anytimenet.runtime.profiling.backend import profile_backend
from anytimenet.serving.asked import Asked, Notify, prediction_of, told
from anytimenet.serving.overhead import Overhead
from anytimenet.serving.request import Done, Overloaded, Refused, Request, StageDone, Update
from anytimenet.serving.reserve import Reserve
from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.jobs import Job, Outcome, Work
from anytimenet.serving.scheduling.policies.known import policy_named
from anytimenet.serving.scheduling.scheduler import Scheduler
from anytimenet.serving.segments import Ran, SegmentRunner

_log = logging.getLogger(__name__)

_PROFILED_MINUTES = 0.25
_UTILISED_OVER_S = 5.0
_BELIEVED_S = 0.5
"""How long the slowdown is believed while requests are refused for it and no segment runs."""
_NAP_S = 0.5
"""Nobody sleeps longer: a clock that was set must not hold anybody up."""


@dataclass(frozen=True)
class ServerStatus:
    """What a model server does now, and has done since it was made.

    Attributes:
        policy: its name.
        waiting: requests that have not begun.
        paused: groups between two segments.
        running: segments under way.
        threads: engine threads.
        slowdown: how many times slower the machine is than when it was profiled.
        utilisation: share of the threads' time that segments took, of late.
        outcomes: requests by how they ended: "answered", "late", "overload", "expired", "closing",
            "cancelled", "failed".
        stages: answers by stage, from 1.
        reserve_ms: kept free for making a prediction and returning it.
        closing: whether nobody is admitted any more.
    """

    policy: str
    waiting: int
    paused: int
    running: int
    threads: int
    slowdown: float
    utilisation: float
    outcomes: Mapping[str, int]
    stages: Mapping[int, int]
    reserve_ms: float
    closing: bool = False


class Ticket:
    """A request that was admitted."""

    def __init__(self, server: ModelServer, job: Job) -> None:
        self._server, self._job = server, job

    def cancel(self) -> None:
        """Ends it at the next segment border, with the native engine at the next block; once is enough."""
        self._server._cancel(self._job)


class ModelServer:
    """Answers requests of many clients on one resident model, each by its deadline; framework-free.

    `submit` may be called from any thread and returns at once. Engine threads run segments of the requests;
    between two segments the scheduler decides who goes on, who waits and who is answered.

    Args:
        model: what has a manifest and a backend: a bundle, an exported folder, a `PreparedModel`.
        table: latencies measured here with that backend. None for the one that the model brings, or, if it
            has none of this machine, one that is measured now, which takes some seconds.
        policy: a name of `known_policies()`.
        threads: engine threads; by default the cores less one.
        queue_limit: requests that wait at most.
        clock: seconds; for tests.

    Raises:
        ValueError: for a net that does not classify, or numbers out of range.
        CostTableError: for a table of another net.

    Example::

        with ModelServer(anytimenet.runtime.load(FOLDER)) as server:
            now = time.monotonic()
            server.submit(x, Request(now, now + 0.05), print)
    """

    def __init__(
        self,
        model: Model,
        *,
        table: CostTable | None = None,
        policy: str = "anytime",
        threads: int | None = None,
        queue_limit: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model, self.policy = model, policy
        manifest, backend = model.manifest, model.backend
        if manifest.task_kind == "segmentation":
            raise ValueError("a server answers with labels, and this is a segmentation net: use a session")
        threads = max(1, (os.cpu_count() or 2) - 1) if threads is None else threads
        self.threads = checks.whole_number(threads, "threads", 1, 1024)
        for start, stop in sorted(backend.segments):
            backend.prepare(start, stop)
        self.table = _table_of(model) if table is None else table
        check_table(self.table, manifest)
        self._clock, self._segments, self._reserve = clock, SegmentRunner(model, clock), Reserve()
        costs = Costs(
            self.table,
            [record.val_accuracy for record in manifest.stages],
            segments=backend.segments,
            counted=[record.macs for record in manifest.stages],
            chance=1 / max(len(manifest.class_names[0]), 1),
        )
        self._scheduler = Scheduler(
            costs,
            policy_named(policy),
            workers=self.threads,
            queue_limit=queue_limit,
            states=self.threads + 64,
            reserve_s=self._reserve.seconds,
            in_one_go=interruptible(model.backend) is not None,
        )
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._outcomes = dict.fromkeys(
            ("answered", "late", "overload", "expired", "closing", "cancelled", "failed"), 0
        )
        self._stages = dict.fromkeys(range(1, manifest.num_stages + 1), 0)
        self._utilised, self._utilised_at = 0.0, clock()
        self._overhead = Overhead(self.threads)
        self._ready = self._segments.warm_up(costs)
        self._learnt_at = clock()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"anytimenet-engine-{number}", daemon=True)
            for number in range(self.threads)
        ]
        for thread in self._threads:
            thread.start()

    # --- for clients ----------------------------------------------------------------------------------

    def submit(self, x: np.ndarray, request: Request, notify: Notify) -> Ticket:
        """Admits a request.

        Args:
            x: the standardised image, float32 `(1, C, H, W)`; it is not copied: do not write into it.
            request: when it came, by when it is to be answered, and what else is asked.
            notify: called from an engine thread with each update, in order, and never while a lock is held;
                what it raises is logged. It must be quick: the thread serves others, too.

        Raises:
            Overloaded: if not even the least stage would be in time, or the server is closing.
            ValueError: for an image of another shape, NaN, or a stage that this net does not have.
        """
        checks.instance(request, Request, "request", "Request(arrived, deadline)")
        checks.instance(x, np.ndarray, "x", "a float32 array (1, C, H, W)")
        check_shape(x.shape, self.model.manifest.preprocessing, batches=True)
        if len(x) != 1:
            raise ValueError(f"a request is one image, and this is a batch of {len(x)}: submit each")
        x = np.ascontiguousarray(x, np.float32)
        check_finite_pixels(x)
        with self._changed:
            self._arrival()
            try:
                job = self._scheduler.submit(request, self._clock(), Asked(x, notify))
            except Overloaded as refused:
                self._note_refusal(refused)
                raise
            ended = self._settled()
            self._changed.notify()
        self._tell(ended)
        return Ticket(self, job)

    def check(self, request: Request) -> None:
        """Refuses now what `submit` would refuse, before anything is done for it, such as decoding its image.

        Raises:
            Overloaded: if not even the least stage would be in time, or the server is closing.
            ValueError: for a stage that this net does not have.
        """
        with self._lock:
            try:
                self._scheduler.check(request, self._clock())
            except Overloaded as refused:
                self._arrival()
                self._note_refusal(refused)
                raise

    def _note_refusal(self, refused: Overloaded) -> None:
        """Counts it, and doubts the slowdown.

        While nobody is let in nothing is learnt of how slow the machine is, so that a bad moment would be
        believed for ever: the estimate goes back towards the profile until somebody is tried again.
        """
        self._outcomes[refused.reason] += 1
        now = self._clock()
        if refused.reason == "expired" and not 0 <= now - self._learnt_at <= _BELIEVED_S:
            self._learnt_at = now
            self._scheduler.costs.slowdown.observe(1.0, 1.0)

    def _arrival(self) -> None:
        self._overhead.came()
        self._scheduler.costs.overhead_s = self._overhead.seconds

    def snapshot(self) -> ServerStatus:
        """What it does now, and has done so far."""
        with self._lock:
            view = self._scheduler.view
            return ServerStatus(
                policy=self.policy,
                waiting=len(view.waiting),
                paused=len(view.paused),
                running=len(view.running),
                threads=self.threads,
                slowdown=view.costs.slow,
                utilisation=self._utilisation(),
                outcomes=dict(self._outcomes),
                stages=dict(self._stages),
                reserve_ms=1000 * self._scheduler.reserve_s,
                closing=self._scheduler.closing,
            )

    def close(self, drain_s: float = 10.0) -> None:
        """Admits nobody any more, refuses who waits, answers who has begun, and ends the threads.

        Args:
            drain_s: seconds to wait for requests under way; then they fail.
        """
        until = time.monotonic() + checks.number(drain_s, "drain_s", 0)
        with self._changed:
            self._scheduler.close(self._clock())
            ended = self._settled()
            self._changed.notify_all()
        self._tell(ended)
        with self._changed:
            while not self._scheduler.idle and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            self._closed = True
            ended = self._give_up()
            self._changed.notify_all()
        self._tell(ended)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()) + _NAP_S)

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    # --- engine threads -------------------------------------------------------------------------------

    def _work(self) -> None:
        work: Work | None = None
        while True:
            with self._changed:
                work = self._next()
                ended = self._settled()
            self._tell(ended)
            if work is None:
                return
            self._run(work)

    def _next(self) -> Work | None:
        """The next segment, once there is one; None when the server is closed."""
        while not self._closed:
            work = self._scheduler.next_work(self._clock())
            if work is not None:
                return work
            if self._scheduler.has_outcomes:
                ended = self._settled()
                self._changed.release()
                try:
                    self._tell(ended)
                finally:
                    self._changed.acquire()
                continue
            wake_at = self._scheduler.wake_at()
            nap = _NAP_S if wake_at is None else min(max(wake_at - self._clock(), 0.0005), _NAP_S)
            self._changed.wait(nap)
        return None

    def _run(self, work: Work) -> None:
        try:
            ran = self._segments.run(work)
        except Exception as error:
            self._over(work, error)
        else:
            for job, answer in zip(work.group.jobs, ran.answers, strict=True):
                if answer and job.request.stream and not job.cancelled:
                    prediction = prediction_of(self.model.manifest, job, answer)
                    _call(job.tag.notify, StageDone(answer, prediction))
            self._over(work, ran)

    def _over(self, work: Work, found: Ran | Exception) -> None:
        """A segment has ended, or failed: who is to be answered is told."""
        ended_at = self._clock()
        with self._changed:
            if work not in self._scheduler.view.running:  # the server gave it up meanwhile
                self._segments.let_go(work.group)
                return
            if isinstance(found, Exception):
                self._scheduler.failed(work, ended_at, found)
            else:
                self._learn(work, found.stage, len(work.group.jobs), found.took_s)
                self._note_busy(found.took_s)
                self._overhead.ran(found.cpu_s)
                self._scheduler.finished(work, self._clock(), found.answers, found.stage)
            ended = self._settled()
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

    def _settled(self) -> list[Outcome]:
        """Who has ended; the memory of groups that are over goes back. The lock is held."""
        for group in self._scheduler.groups_over():
            self._segments.let_go(group)
        return self._scheduler.outcomes()

    def _tell(self, ended: list[Outcome], ran: float | None = None) -> None:
        """Makes the predictions of those who have ended and tells them; no lock is held."""
        for outcome in ended:
            update = told(self.model.manifest, outcome, self._clock)
            with self._lock:
                self._count(update)
            _call(outcome.job.tag.notify, update)
            if ran is not None and isinstance(update, Done):
                self._reserve.took(self._clock() - ran)
                self._scheduler.reserve_s = self._reserve.seconds

    def _count(self, update: Update) -> None:
        if isinstance(update, Done):
            self._outcomes["late" if update.timing.late else "answered"] += 1
            self._stages[update.prediction.stage] += 1
        elif isinstance(update, Refused):
            self._outcomes[update.reason] += 1
        else:
            self._outcomes["failed"] += 1

    def _give_up(self) -> list[Outcome]:
        """Everybody who is still there when the server ends. The lock is held."""
        error = SessionError("the server was closed before this request was answered")
        now, view = self._clock(), self._scheduler.view
        for work in list(view.running):
            for job in work.group.jobs:
                self._segments.stop(job)
            self._scheduler.failed(work, now, error)
        return [*self._settled(), *self._scheduler.abandon(error)]

    def _cancel(self, job: Job) -> None:
        with self._changed:
            self._scheduler.cancel(job, self._clock())
            self._segments.stop(job)
            ended = self._settled()
            self._changed.notify()
        self._tell(ended)

    # --- how busy -------------------------------------------------------------------------------------

    def _note_busy(self, took_s: float) -> None:
        self._utilised = self._utilisation() + took_s / (_UTILISED_OVER_S * self.threads)
        self._utilised_at = self._clock()

    def _utilisation(self) -> float:
        passed = max(0.0, self._clock() - self._utilised_at)
        return min(1.0, self._utilised * float(np.exp(-passed / _UTILISED_OVER_S)))


def _call(notify: Notify, update: Update) -> None:
    try:
        notify(update)
    except Exception:
        _log.exception("a client could not be told of its request")


def _table_of(model: Model) -> CostTable:
    """The table that the model brings of this machine; else one that is measured now."""
    backend = model.backend
    tables = getattr(model, "cost_tables", {})
    found = table_for(tables, backend.name, backend.placement)
    if found is not None:
        return found
    _log.warning(
        "no cost table of this machine: measuring one now, for %.0f s; `python -m anytimenet.runtime "
        "profile` keeps one",
        60 * _PROFILED_MINUTES,
    )
    return profile_backend(backend, model.manifest.input_shape, minutes=_PROFILED_MINUTES)
