"""One answer as a JSON object, the same for every program that prints answers."""

from __future__ import annotations

from typing import Any

from anytimenet.core.answers.prediction import Prediction


def prediction_record(image: object, answer: Prediction) -> dict[str, Any]:
    """The JSON object of an answer; keys that say nothing are left out.

    >>> import numpy as np
    >>> answer = Prediction(("cat",), (np.array([0.2, 0.8]),), stage=1, elapsed_ms=0.5, macs=900, late=True)
    >>> record = prediction_record("a.png", answer)
    >>> record["label"], record["late"], "over_budget" in record
    ('cat', True, False)
    """
    record: dict[str, Any] = {
        "image": str(image),
        "label": answer.label,
        "probability": answer.probability,
        "stage": answer.stage,
        "macs": answer.macs,
        "elapsed_ms": answer.elapsed_ms,
    }
    if answer.path:
        record["path"] = [list(segment) for segment in answer.path]
    if answer.coarser:
        record["level"] = answer.level
        record["fine_label"] = answer.fine_label
        record["coarser"] = list(answer.coarser)
    for flag in ("over_budget", "late", "below_target"):
        if getattr(answer, flag):
            record[flag] = True
    return record


def remarks(answer: Prediction) -> str:
    """What people should know of an answer beside it, in words; empty if nothing.

    >>> import numpy as np
    >>> remarks(Prediction(("cat",), (np.ones(1),), stage=1, elapsed_ms=0.5, macs=900, late=True))
    '  (late)'
    """
    said = []
    if answer.over_budget:
        said.append("even stage 1 exceeds the budget")
    if answer.late:
        said.append("late")
    if answer.below_target:
        said.append("no stage reaches that accuracy")
    return f"  ({'; '.join(said)})" if said else ""
