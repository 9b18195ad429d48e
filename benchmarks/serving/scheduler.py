"""What the scheduler itself costs: microseconds of a decision, by policy and by requests that wait."""

from __future__ import annotations

import statistics
import time
from typing import Any

from timing import fresh

from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.serving.request import Overloaded, Request
from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.policies.known import known_policies, policy_named
from anytimenet.serving.scheduling.scheduler import Scheduler

NAME = "serving-scheduler"
STAGES = 10
STEP_MS = 1.0
ACCURACY = (0.55, 0.63, 0.67, 0.70, 0.72, 0.735, 0.745, 0.752, 0.757, 0.76)
WAITING = (1, 10, 100, 1000)
SEGMENTS_A_ROUND = 300


def measure(rounds: int) -> dict[str, Any]:
    """Medians over segments: one is a decision what runs next, and one who is answered when it is over."""
    return {"stages": STAGES, "rows": fresh(_measure, rounds * SEGMENTS_A_ROUND)}


def _measure(segments: int) -> list[dict[str, Any]]:
    return [
        {
            "policy": policy,
            **{
                f"{waiting} waiting, us": round(_decision_us(policy, waiting, segments), 1)
                for waiting in WAITING
            },
        }
        for policy in known_policies()
    ]


def _decision_us(policy: str, waiting: int, segments: int) -> float:
    """Of `next_work` and `finished` together, with so many in the queue and a new one for each that ends.

    Deadlines leave time for three of the stages of everybody, so that the depth has to be decided; the
    clock moves on by the segments alone. A policy that refuses keeps fewer in the queue.
    """
    scheduler = Scheduler(Costs(_table(), ACCURACY), policy_named(policy), queue_limit=waiting)
    now, allowed_s = 0.0, STEP_MS * max(3 * (waiting + 1), 1.5 * STAGES) / 1000
    taken = []
    while len(taken) < segments:
        while len(scheduler.view.waiting) < waiting:
            try:
                scheduler.submit(Request(now, now + allowed_s), now)
            except Overloaded:
                break
            now += 1e-6
        began = time.perf_counter()
        work = scheduler.next_work(now)
        middle = time.perf_counter()
        if work is None:
            now += STEP_MS / 1000
            continue
        now = work.ends
        again = time.perf_counter()
        scheduler.finished(work, now)
        scheduler.outcomes()
        taken.append(middle - began + time.perf_counter() - again)
        scheduler.groups_over()
    return round(1e6 * statistics.median(taken), 1)


def _table() -> CostTable:
    def latency(milliseconds: float) -> Latency:
        return Latency(milliseconds, 1.03 * milliseconds, 1.06 * milliseconds, repeats=50)

    entries = {(a, b, 1): latency(STEP_MS * (b - a)) for a in range(STAGES) for b in range(a + 1, STAGES + 1)}
    return CostTable("cpu", {"id": "0" * 8}, "float32", 1, (3, 32, 32), entries)
