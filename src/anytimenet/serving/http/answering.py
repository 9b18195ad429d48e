"""A prediction as JSON: written by hand where it is the same every time, for a thousand classes too."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from anytimenet.core.answers.prediction import Prediction
from anytimenet.serving.http.residents import Resident


@dataclass(frozen=True)
class Times:
    """Where the time of an answer went: in the queue, in segments, and all of it from arrival on."""

    queued_ms: float
    run_ms: float
    total_ms: float

    @property
    def in_json(self) -> str:
        return (
            f'{{"queued_ms":{self.queued_ms:.3f},"run_ms":{self.run_ms:.3f},"total_ms":{self.total_ms:.3f}}}'
        )

    @property
    def server_timing(self) -> bytes:
        """The header `Server-Timing`, which browsers show."""
        return b"queue;dur=%.3f, run;dur=%.3f, total;dur=%.3f" % (self.queued_ms, self.run_ms, self.total_ms)


def answer_json(
    resident: Resident,
    answer: Prediction,
    *,
    top: int,
    late: bool,
    request_id: str,
    times: Times | None = None,
    elapsed_ms: float | None = None,
) -> str:
    """The JSON object of one answer.

    Args:
        resident: the model that gave it.
        answer: of a stage.
        top: classes that are told, the most probable first; 0 for all in their own order.
        late: whether it came after its deadline.
        request_id: of the request.
        times: of the answer that stands.
        elapsed_ms: of a stage of a stream.
    """
    found = answer.level_probabilities[answer.level - 1]
    beginnings = resident.in_json[answer.level - 1]
    shown = range(len(found)) if top == 0 else most_probable(found, top)
    values = found.tolist()
    classes = ",".join([f"{beginnings[at]}{values[at]:.7g}}}" for at in shown])
    timing = "" if times is None else f',"timings":{times.in_json}'
    elapsed = "" if elapsed_ms is None else f',"elapsed_ms":{elapsed_ms:.3f}'
    return (
        f'{{"model":{json.dumps(resident.name)},"label":{json.dumps(answer.label)},'
        f'"labels":{json.dumps(answer.labels)},"level":{answer.level},"stage":{answer.stage},'
        f'"stages":{resident.stages},"probability":{max(values):.7g},"probabilities":[{classes}],'
        f'"late":{"true" if late else "false"}{timing}{elapsed},"request_id":"{request_id}"}}'
    )


def most_probable(found: np.ndarray, top: int) -> list[int]:
    """The indices of the `top` largest, the largest first.

    >>> most_probable(np.array([0.1, 0.6, 0.3]), 2)
    [1, 2]
    """
    if top >= len(found):
        order = np.argsort(-found, kind="stable")
    else:
        some = np.argpartition(-found, top - 1)[:top] if top > 1 else np.array([found.argmax()])
        order = some[np.argsort(-found[some], kind="stable")]
    listed: list[int] = order.tolist()
    return listed
