"""A resident model, its scheduler and its engine threads."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

import numpy as np

from anytimenet.core import checks
from anytimenet.core.images.inputs import check_finite_pixels, check_shape
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.table_choice import table_for
from anytimenet.core.manifest.tables import check_table
from anytimenet.runtime.backends.interruptible import interruptible
from anytimenet.runtime.model import Model
from anytimenet.runtime.profiling.backend import profile_backend
from anytimenet.serving.asked import Asked, Notify, Prepare
from anytimenet.serving.engine import NAP_S, Engine
from anytimenet.serving.request import Request
from anytimenet.serving.reserve import Reserve
from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.jobs import Job
from anytimenet.serving.scheduling.policies.known import policy_named
from anytimenet.serving.scheduling.scheduler import Scheduler
from anytimenet.serving.tally import ServerStatus

__all__ = ["ModelServer", "ServerStatus", "Ticket"]

_log = logging.getLogger(__name__)

_PROFILED_MINUTES = 0.25
_SHORT_S = 0.02
"""A net that takes no longer may run between two looks at the sockets; see `ModelServer.drive`."""


class Ticket:
    """A request that was admitted."""

    def __init__(self, engine: Engine, job: Job) -> None:
        self._engine, self._job = engine, job

    def cancel(self) -> None:
        """Ends it at the next segment border, with the native engine at the next block; once is enough."""
        self._engine.cancel(self._job)


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
        costs = Costs(
            self.table,
            [record.val_accuracy for record in manifest.stages],
            segments=backend.segments,
            counted=[record.macs for record in manifest.stages],
            chance=1 / max(len(manifest.class_names[0]), 1),
        )
        stoppable, reserve = interruptible(backend) is not None, Reserve()
        scheduler = Scheduler(
            costs,
            policy_named(policy),
            workers=self.threads,
            queue_limit=queue_limit,
            states=self.threads + 64,
            reserve_s=reserve.seconds,
            in_one_go=stoppable,
        )
        self.is_short = stoppable and costs.seconds(0, costs.stages[-1]) <= _SHORT_S
        """Whether its segments are short enough, and can be ended, so that a loop may run them itself."""
        self._prepares_late = costs.most_together == 1
        self._engine = Engine(model, scheduler, reserve, clock, self.threads)
        self._threads = [
            threading.Thread(target=self._engine.work, name=f"anytimenet-engine-{number}", daemon=True)
            for number in range(self.threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, x: np.ndarray | Prepare, request: Request, notify: Notify) -> Ticket:
        """Admits a request.

        Args:
            x: the standardised image, float32 `(1, C, H, W)`; it is not copied: do not write into it. Or what
                makes it: called once, by whoever runs its first segment, so that nothing is spent on a
                request that is refused. What that raises ends the request as `Failed`, in an
                `InvalidInputError`.
            request: when it came, by when it is to be answered, and what else is asked.
            notify: called from an engine thread with each update, in order, and never while a lock is held;
                what it raises is logged. It must be quick: the thread serves others, too.

        Raises:
            Overloaded: if not even the least stage would be in time, or the server is closing.
            ValueError: for an image of another shape, NaN, or a stage that this net does not have.
        """
        checks.instance(request, Request, "request", "Request(arrived, deadline)")
        if callable(x) and not self._prepares_late:
            x = x()
        if not callable(x):
            x = self._checked(x)
        return Ticket(self._engine, self._engine.admit(request, Asked(x, notify)))

    def _checked(self, x: np.ndarray) -> np.ndarray:
        checks.instance(x, np.ndarray, "x", "a float32 array (1, C, H, W)")
        check_shape(x.shape, self.model.manifest.preprocessing, batches=True)
        if len(x) != 1:
            raise ValueError(f"a request is one image, and this is a batch of {len(x)}: submit each")
        x = np.ascontiguousarray(x, np.float32)
        check_finite_pixels(x)
        return x

    def check(self, request: Request) -> None:
        """Refuses now what `submit` would refuse, before anything is done for it, such as reading its body.

        Raises:
            Overloaded: if not even the least stage would be in time, or the server is closing.
            ValueError: for a stage that this net does not have.
        """
        self._engine.check(request)

    def snapshot(self) -> ServerStatus:
        """What it does now, and has done so far."""
        return self._engine.status(self.policy, self.threads)

    def drive(self, wake: Callable[[], None] | None) -> None:
        """Lets the caller run the segments with `step`, in place of the engine threads.

        For a process that has no core beside them: its loop and its engine would only take turns on one core,
        and every turn is a switch of threads.

        Args:
            wake: called from any thread, with a lock held, whenever `step` is worth a call: it must not call
                this server. None: the threads go on.
        """
        self._engine.driven(wake)

    def step(self) -> float | None:
        """Runs the next segment, if there is one, in this thread; only while `drive` has been told of it.

        Returns:
            Seconds after which to call it again; None for when it is woken.
        """
        return self._engine.step()

    def close(self, drain_s: float = 10.0) -> None:
        """Admits nobody any more, refuses who waits, answers who has begun, and ends the threads.

        Args:
            drain_s: seconds to wait for requests under way; then they fail.
        """
        until = time.monotonic() + checks.number(drain_s, "drain_s", 0)
        self._engine.drain()
        self._engine.close(lambda: until - time.monotonic())
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, until - time.monotonic()) + NAP_S)

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


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
