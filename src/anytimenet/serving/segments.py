"""Runs segments of requests on a backend, and stops them where the backend can be stopped."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from anytimenet.runtime.backends.backend import Output
from anytimenet.runtime.backends.interruptible import interruptible
from anytimenet.runtime.model import Model
from anytimenet.runtime.paths import steps_to
from anytimenet.runtime.running import finite_rows
from anytimenet.serving.asked import Asked
from anytimenet.serving.request import InvalidInputError
from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.jobs import Group, Job, Work


class Ran(NamedTuple):
    """What became of a segment.

    Attributes:
        stage: reached.
        answers: for each job the stage that gave numbers, 0 for none.
        took_s: seconds, without the making of inputs.
    """

    stage: int
    answers: list[int]
    took_s: float


class SegmentRunner:
    """Runs one segment at a time for each thread that calls it; states belong to groups.

    Args:
        model: whose backend runs them.
        clock: seconds.
    """

    def __init__(self, model: Model, clock: Callable[[], float]) -> None:
        self._backend, self._input_shape = model.backend, model.manifest.input_shape
        self._clock, self._stoppable = clock, interruptible(model.backend)
        self._lock = threading.Lock()

    def run(self, work: Work) -> Ran:
        """Runs a segment and keeps its outputs with the requests.

        Raises:
            InvalidInputError: if an input could not be made.
            Exception: what the backend raises; the state of the group is lost then.
        """
        if work.start == 0:
            for job in work.group.jobs:
                _prepare(job.tag)
        began = self._clock()
        stage, answered, output = self._segment(work)
        took_s = max(0.0, self._clock() - began)
        jobs = list(work.group.jobs)
        finite = [False] * len(jobs) if output is None else [bool(each) for each in finite_rows(output)]
        for row, job in enumerate(jobs):
            asked: Asked = job.tag
            asked.run_s += took_s
            if stage > work.start:
                asked.path = (*asked.path, (work.start, stage))
            if output is not None and finite[row]:
                asked.outputs[answered] = tuple(level[row : row + 1] for level in output)
        return Ran(stage, [answered if each else 0 for each in finite], took_s)

    def stop(self, job: Job) -> None:
        """Ends the run of a job at the next block, where it runs and can be ended; from any thread."""
        with self._lock:
            if job.tag.taken is not None and self._stoppable is not None:
                self._stoppable.cancel(job.tag.taken)

    def let_go(self, group: Group) -> None:
        """Gives the memory of a group back."""
        state, group.state = group.state, None
        if state is not None:
            self._backend.release(state)

    def warm_up(self, costs: Costs) -> set[tuple[int, int, int]]:
        """Runs the way to every stage once, on zeros; the segments and batches that have run."""
        backend, ran = self._backend, set()
        x = np.zeros((1, *self._input_shape), np.float32)
        paths = {costs.way(0, stage) for stage in costs.stages}
        for path in sorted(paths | {steps_to(costs.stages[-1], 0, 0, costs.segments)}):
            state = backend.begin(x)
            for start, stop in path:
                if start == 0 and state.stage:
                    backend.release(state)
                    state = backend.begin(x)
                state, _ = backend.run(start, stop, state)
                ran.add((start, stop, 1))
            backend.release(state)
        return ran

    def _segment(self, work: Work) -> tuple[int, int, Output | None]:
        """The stage reached, the one that answered, and its output."""
        group, backend = work.group, self._backend
        state, rows, group.rows = group.state, group.rows, None
        group.state = None  # used up, whatever comes
        if state is None or work.start == 0:
            if state is not None:
                backend.release(state)
            xs = [job.tag.x for job in group.jobs]
            state = backend.begin(xs[0] if len(xs) == 1 else np.concatenate(xs))
        elif rows is not None:
            state = backend.rows(state, rows)
        stoppable = self._stoppable
        if stoppable is None or len(group.jobs) > 1:
            group.state, output = backend.run(work.start, work.stop, state)
            return work.stop, work.stop, output
        (job,) = group.jobs
        with self._lock:
            if job.cancelled:
                group.state = state
                return work.start, 0, None
            job.tag.taken = state
        try:
            deadline_ns = 0
            if job.due < math.inf:
                left_s = max(job.due - self._clock(), 0.0)
                deadline_ns = stoppable.now_ns() + int(1e9 * left_s)
            group.state, answered, found = stoppable.run_until(
                work.stop, state, deadline_ns=deadline_ns, least=job.least
            )
        finally:
            with self._lock:  # from here on the memory may be another's, whom no client may cancel
                job.tag.taken = None
        reached = group.state.stage
        if answered <= work.start:  # nothing new: it was stopped before the next stage
            return reached, 0, None
        return reached, answered, found


def _prepare(asked: Asked) -> None:
    if callable(asked.x):
        try:
            asked.x = asked.x()
        except Exception as error:
            raise InvalidInputError("the input could not be made") from error
