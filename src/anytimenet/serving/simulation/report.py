"""What a simulation found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

ANSWERED, LATE, REFUSED, EXPIRED = range(4)


@dataclass(frozen=True)
class Report:
    """What became of the requests of a simulation.

    Attributes:
        policy: that served them.
        offered: requests.
        rate: requests a second.
        in_time: share of the offered that was answered by its deadline.
        late: share that was answered later.
        refused: share that was refused at admission, or dropped from the queue for another.
        expired: share that had waited, and was dropped before any work began on it.
        useful_goodput: share that was answered in time and, by validated accuracy, right.
        accuracy: validated, of those answered in time.
        p50_ms, p99_ms: latency of those answered.
        utilisation: share of the workers' time that segments took.
        stages: answers by stage, from 1.
    """

    policy: str
    offered: int
    rate: float
    in_time: float
    late: float
    refused: float
    expired: float
    useful_goodput: float
    accuracy: float
    p50_ms: float
    p99_ms: float
    utilisation: float
    stages: Mapping[int, int]


@dataclass(frozen=True, eq=False)
class Fates:
    """Of each request: its fate, the stage that answered, its latency, the chance that it is right."""

    fate: np.ndarray
    stage: np.ndarray
    latency_s: np.ndarray
    right: np.ndarray


def reported(policy: str, workers: int, times: np.ndarray, fates: Fates, busy_s: float) -> Report:
    """The report of one run."""
    count = max(len(times), 1)
    lasted = float(times[-1] - times[0]) if len(times) > 1 else 1.0
    in_time = fates.fate == ANSWERED
    useful = float(fates.right[in_time].sum())
    answered = fates.latency_s[~np.isnan(fates.latency_s)] * 1000
    p50, p99 = np.percentile(answered, (50, 99)) if len(answered) else (0.0, 0.0)
    stages, counts = np.unique(fates.stage[fates.stage > 0], return_counts=True)
    return Report(
        policy=policy,
        offered=len(times),
        rate=len(times) / lasted if lasted else 0.0,
        in_time=float(in_time.mean()) if len(times) else 0.0,
        late=int((fates.fate == LATE).sum()) / count,
        refused=int((fates.fate == REFUSED).sum()) / count,
        expired=int((fates.fate == EXPIRED).sum()) / count,
        useful_goodput=useful / count,
        accuracy=useful / max(int(in_time.sum()), 1),
        p50_ms=float(p50),
        p99_ms=float(p99),
        utilisation=min(1.0, busy_s / (lasted * workers)) if lasted else 0.0,
        stages={int(stage): int(number) for stage, number in zip(stages, counts, strict=True)},
    )
