"""A static net beside an anytime net: what its accuracy costs here and there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from anytimenet.core.checks import instance, texts
from anytimenet.core.records import as_json
from anytimenet.evaluation.reports.report import Report


@dataclass(frozen=True)
class StaticBaseline:
    """A static net, and the cheapest stage of an anytime net that is at least as good.

    Attributes:
        label: name of the static net.
        value: its headline score.
        macs: its multiply-adds for one image.
        latency_median_ms: its latency; None where it was not measured on machine and backend of the other.
        stage: the stage that matches it; None if no stage is as good.
        stage_value: the score of that stage, of the best one where none matches.
        macs_ratio: the multiply-adds of that stage over those of the static net; None without a match.
        latency_ratio: the same of the latencies; None where one is not known.
        same_data: whether both were evaluated on data of one name and split.
    """

    label: str
    value: float
    macs: int
    latency_median_ms: float | None
    stage: int | None
    stage_value: float
    macs_ratio: float | None
    latency_ratio: float | None
    same_data: bool

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return dict(as_json(self))


def beside_static(report: Report, static: Report, label: str = "static net") -> StaticBaseline:
    """What the accuracy of a static net costs, as itself and as a stage of an anytime net.

    Args:
        report: of the anytime net.
        static: of the static net; of several stages the last one counts.
        label: name of the static net.

    Raises:
        ValueError: for reports with different headline scores.
    """
    instance(report, Report, "report", "evaluate(bundle)")
    instance(static, Report, "static", "evaluate(bundle)")
    texts((label,), "label")
    key = report.headline.key
    if static.headline.key != key:
        raise ValueError(
            f"the baseline is scored by {static.headline.label} and this net by {report.headline.label}: "
            "give a report of the same task"
        )
    last = static.stages[-1]
    value = static.values[-1]
    good = [stage for stage in report.stages if getattr(stage, key) >= value]
    match = min(good, key=lambda stage: stage.macs, default=None)
    here = report.latency_from is not None and report.latency_from == static.latency_from
    ms = last.latency_median_ms if here else None
    own_ms = None if match is None else match.latency_median_ms
    return StaticBaseline(
        label=label,
        value=value,
        macs=last.macs,
        latency_median_ms=ms,
        stage=None if match is None else match.stage,
        stage_value=max(report.values) if match is None else getattr(match, key),
        macs_ratio=None if match is None or not last.macs else match.macs / last.macs,
        latency_ratio=None if own_ms is None or not ms else own_ms / ms,
        same_data=(report.data, report.split) == (static.data, static.split),
    )
