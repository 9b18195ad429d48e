"""What a server keeps of a request, and what it tells when it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from anytimenet.core.answers.prediction import Prediction
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.runtime.backends.backend import Output
from anytimenet.runtime.naming import named
from anytimenet.serving.request import Done, Failed, Refused, Timing, Update
from anytimenet.serving.scheduling.jobs import Answered, Dropped, Job, Outcome

Notify = Callable[[Update], None]
Prepare = Callable[[], np.ndarray]
"""Makes the input of a request when its turn has come."""


class Asked:
    """A request between its admission and its end.

    Attributes:
        x: its image, or what makes it.
        notify: whom to tell.
        outputs: of the stages that gave numbers.
        path: the segments that ran.
        run_s: that they took.
        taken: the state that runs now, where it can be stopped.
    """

    __slots__ = ("notify", "outputs", "path", "run_s", "taken", "x")

    def __init__(self, x: np.ndarray | Prepare, notify: Notify) -> None:
        self.x, self.notify = x, notify
        self.outputs: dict[int, Output] = {}
        self.path: tuple[tuple[int, int], ...] = ()
        self.run_s = 0.0
        self.taken: Any = None


def prediction_of(manifest: Manifest, job: Job, stage: int) -> Prediction:
    """What a stage said; what time it took is not known yet."""
    asked: Asked = job.tag
    path = tuple(segment for segment in asked.path if segment[1] <= stage)
    return named(manifest, asked.outputs[stage], 0, stage=stage, path=path)


def told(manifest: Manifest, outcome: Outcome, clock: Callable[[], float]) -> Update:
    """The update that ends a request."""
    if isinstance(outcome, Dropped):
        return Refused(outcome.reason, outcome.retry_after_s)
    if not isinstance(outcome, Answered):
        return Failed(outcome.error)
    job, request = outcome.job, outcome.job.request
    try:
        prediction = prediction_of(manifest, job, outcome.stage)
    except Exception as error:  # such as a model whose names do not fit its logits
        return Failed(error)
    now = clock()
    began = request.arrived if job.began is None else job.began
    total_ms = 1000 * max(0.0, now - request.arrived)
    late = request.deadline is not None and now > request.deadline
    queued_ms = 1000 * max(0.0, began - request.arrived)
    return Done(
        prediction.timed(total_ms, late=late), Timing(queued_ms, 1000 * job.tag.run_s, total_ms, late)
    )
