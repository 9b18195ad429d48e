"""What a run is worth: correct answers in time over requests offered, and whether the run counts."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from serving.generator import Run

MOST_LAG = 0.02
"""Of the deadline: how late the generator itself may be in 99 of 100 requests."""


@dataclass(frozen=True)
class Score:
    """One run.

    Attributes:
        offered: requests.
        useful: correct answers before the deadline over requests offered; refused, late and failed count 0.
        in_time: answers before the deadline over requests offered.
        refused, late, failed: shares of what was offered.
        accuracy: of the answers in time.
        p50_ms, p99_ms: latency of all answers, from the instant a request was meant to leave.
        beside_ms: median of it less what the server says of the queue and of the segments: the image, HTTP,
            decisions; NaN for servers that say nothing.
        lag_ms: 99 % quantile of the generator's lag.
        counts: whether the lag was small enough.
        stages: answers in time by the stage that gave them.
    """

    offered: int
    useful: float
    in_time: float
    refused: float
    late: float
    failed: float
    accuracy: float
    p50_ms: float
    p99_ms: float
    beside_ms: float
    lag_ms: float
    counts: bool
    stages: dict[int, int]


def score(run: Run, labels: list[str], deadline_s: float) -> Score:
    """Judges every request by its own label.

    Args:
        run: what became of them.
        labels: the right answer of each.
        deadline_s: after its intended instant.
    """
    offered = len(labels)
    answered = run.status == 200
    in_time = answered & (run.latency <= deadline_s)
    told: list[dict[str, Any]] = [
        json.loads(body) if ok else {} for body, ok in zip(run.bodies, answered, strict=True)
    ]
    right = np.array([one.get("label") == label for one, label in zip(told, labels, strict=True)], bool)
    refused = np.isin(run.status, (429, 503, 504))
    latency = 1000 * run.latency[answered]
    timed = [
        (1000 * late, one["timings"]) for late, one in zip(run.latency, told, strict=True) if "timings" in one
    ]
    beside = np.array([took - times["queued_ms"] - times["run_ms"] for took, times in timed])
    lag_s = float(np.quantile(run.lag, 0.99, method="higher")) if offered else 0.0
    stages = Counter(int(one["stage"]) for one, ok in zip(told, in_time, strict=True) if ok)
    return Score(
        offered=offered,
        useful=_share(right & in_time),
        in_time=_share(in_time),
        refused=_share(refused),
        late=_share(answered & ~in_time),
        failed=_share(~answered & ~refused),
        accuracy=float(right[in_time].mean()) if in_time.any() else 0.0,
        p50_ms=float(np.quantile(latency, 0.5)) if latency.size else float("nan"),
        p99_ms=float(np.quantile(latency, 0.99)) if latency.size else float("nan"),
        beside_ms=float(np.median(beside)) if beside.size else float("nan"),
        lag_ms=1000 * lag_s,
        counts=lag_s <= MOST_LAG * deadline_s,
        stages=dict(sorted(stages.items())),
    )


def _share(which: np.ndarray) -> float:
    return float(which.mean()) if which.size else 0.0
