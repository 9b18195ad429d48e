"""Where multiply-adds and milliseconds disagree on which stage is the cheaper one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from anytimenet.core.checks import number
from anytimenet.evaluation.reports.stages import StageReport

MARGIN = 0.05
"""Medians that are closer than this share are equal: so much changes from one measurement to the next."""


def ranked_otherwise(stages: Sequence[StageReport], margin: float = MARGIN) -> list[tuple[int, int]]:
    """Pairs (a, b) of stages where a costs fewer multiply-adds than b and takes longer by more than `margin`.

    Stages without a measured latency are left aside.

    >>> times = ((1, 3.0), (2, 2.0))
    >>> stages = [StageReport(k, 10 * k, 10 * k, k, {}, latency_median_ms=ms) for k, ms in times]
    >>> ranked_otherwise(stages)
    [(1, 2)]
    """
    number(margin, "margin", 0)
    timed = [(s.macs, s.latency_median_ms, s.stage) for s in stages if not s.latency_estimated]
    known = [(macs, ms, stage) for macs, ms, stage in timed if ms is not None]
    return [
        (stage, other)
        for (macs, ms, stage), (more_macs, fewer_ms, other) in combinations(sorted(known), 2)
        if macs < more_macs and ms > (1 + margin) * fewer_ms
    ]


def order_note(stages: Sequence[StageReport], margin: float = MARGIN) -> str:
    """A sentence on those pairs for people; empty where there are none."""
    pairs = ranked_otherwise(stages, margin)
    if not pairs:
        return ""
    ms = {stage.stage: stage.latency_median_ms for stage in stages}
    told = [f"stage {a} takes {ms[a]:.2f} ms and stage {b} {ms[b]:.2f} ms" for a, b in pairs[:3]]
    more = f", and {len(pairs) - 3} pairs more" if len(pairs) > 3 else ""
    return (
        f"multiply-adds and milliseconds rank stages differently here: {'; '.join(told)}{more}: on this "
        "machine take milliseconds as the budget"
    )
