"""What an evaluation says: per stage, over budgets, per label level, per class; as JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from anytimenet.core.checks import (
    all_words,
    choice,
    fraction,
    instance,
    numbers,
    optional,
    settle,
    several,
    texts,
    whole_number,
    words,
)
from anytimenet.core.declared import check_declared
from anytimenet.core.html_table import html_table
from anytimenet.core.uncounted import with_note
from anytimenet.evaluation.curves.curve import Curve, check_range, worse_than_before
from anytimenet.evaluation.reports.ensemble import EnsembleReport
from anytimenet.evaluation.scores.example_quality import ExampleQuality
from anytimenet.evaluation.scores.metrics import ClassScore
from anytimenet.evaluation.text.tables import plain_table, report_columns, rich_table

if TYPE_CHECKING:
    from rich.table import Table

    from anytimenet.evaluation.reports.segmentation_report import SegmentationReport, SegmentationStage

Cost = Literal["macs", "full", "ms"]

_LATER = ("failure_auroc",)
"""What `StageReport` has and the first report.json files had not."""


@dataclass(frozen=True)
class StageReport:
    """One stage on one data split. Shares are fractions; `_low` and `_high` bound 95 % Wilson intervals.

    Attributes:
        stage: number of the stage, from 1.
        macs: multiply-adds of its sub-network alone.
        full: the same in the `full` convention (BN, ReLU, pooling, adds too).
        params: parameters of its sub-network alone.
        top1: share of examples answered right.
        top5: share of examples whose label is among the five most probable classes.
        ece: expected calibration error, 15 bins.
        nll: mean negative log likelihood in nats.
        latency_median_ms: measured latency of one image; None if not profiled.
        latency_p99_ms: its 99th percentile; None if not profiled.
        latency_estimated: true if it was derived from other segments' times, not measured.
        failure_auroc: how well low confidence tells wrong answers, see `metrics.failure_auroc`; None where
            all answers are right or all are wrong, and in reports written before it was measured.
    """

    stage: int
    macs: int
    full: int
    params: int
    top1: float
    top1_low: float
    top1_high: float
    top5: float
    top5_low: float
    top5_high: float
    ece: float
    nll: float
    latency_median_ms: float | None = None
    latency_p99_ms: float | None = None
    latency_estimated: bool = False
    failure_auroc: float | None = None


@dataclass(frozen=True)
class LevelReport:
    """The stages on one coarser label level; `level` counts from 1, which is the fine level."""

    level: int
    num_classes: int
    stages: tuple[StageReport, ...]


@dataclass(frozen=True)
class Report:
    """What `make_report` found; the fine label level unless something else is said.

    Attributes:
        data: name of the data.
        split: name of the split.
        count: examples.
        num_classes: classes of the fine level.
        stages: one entry a stage, stage 1 first.
        budget_range: multiply-adds from and to which the areas are taken.
        example_violations: share of examples right at some stage and wrong at a later one.
        levels: the coarser label levels.
        per_class: the classes of the fine level for each stage; empty unless asked for.
        example_quality: how often single examples get worse; None in reports written before it was measured.
        ensemble: a running ensemble of the stages; None unless asked for.
        device: where the net ran, such as "cpu"; None where it is not known.
        uncounted_operators: operators that no rule counts, so that the multiply-adds are not complete.
    """

    data: str
    split: str
    count: int
    num_classes: int
    stages: tuple[StageReport, ...]
    budget_range: tuple[float, float]
    example_violations: float
    levels: tuple[LevelReport, ...] = ()
    per_class: tuple[tuple[ClassScore, ...], ...] = ()
    example_quality: ExampleQuality | None = None
    ensemble: EnsembleReport | None = None
    device: str | None = None
    uncounted_operators: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_head(self)
        settle(self, "num_classes", whole_number, 1)
        settle(self, "example_violations", fraction)
        for name, kind in (("stages", StageReport), ("levels", LevelReport)):
            settle(self, name, several)
            for item in getattr(self, name):
                instance(item, kind, name, f"a {kind.__name__}")
        settle(self, "per_class", several)
        for row in self.per_class:
            for score in several(row, "per_class"):
                instance(score, ClassScore, "per_class", "a ClassScore a class")
        for name, wanted in (("example_quality", ExampleQuality), ("ensemble", EnsembleReport)):
            if getattr(self, name) is not None:
                instance(getattr(self, name), wanted, name, f"a {wanted.__name__}")
        if not self.stages:
            raise ValueError("a report needs at least one stage in stages")
        others = [level.stages for level in self.levels] + ([self.ensemble.stages] if self.ensemble else [])
        if any(len(stages) != len(self.stages) for stages in others):
            raise ValueError(f"every level and the ensemble need {len(self.stages)} stages, one of each")

    # --- over budgets -------------------------------------------------------------------------------

    def curve(self, cost: Cost = "macs", label: str = "") -> Curve:
        """Top-1 accuracy against `cost`: "macs", "full", or "ms" for the median latency.

        Raises:
            ValueError: for another cost, or for latencies that were not measured.
        """
        return Curve.from_points(
            stage_costs_in(self.stages, cost), [stage.top1 for stage in self.stages], label, cost
        )

    @property
    def area(self) -> float:
        """Mean accuracy over `budget_range` in multiply-adds; see `Curve.area`."""
        return self.curve().area(*self.budget_range)

    @property
    def area_log(self) -> float:
        """The same over the logarithm of the budget."""
        return self.curve().area(*self.budget_range, log=True)

    @property
    def expected_accuracy(self) -> float:
        """Expected accuracy at a budget drawn uniformly from `budget_range`; equals `area`."""
        return self.curve().expected_accuracy(*self.budget_range)

    @property
    def violations(self) -> tuple[int, ...]:
        """The stages whose accuracy is below that of an earlier stage."""
        return worse_than_before([stage.top1 for stage in self.stages])

    # --- for people ---------------------------------------------------------------------------------

    def table(self) -> str:
        """Plain aligned text: a line a stage; latencies only if profiled."""
        return with_note(plain_table(report_columns(self)), self.uncounted_operators)

    def rich_table(self, title: str = "") -> Table:
        """The same for a `rich` console."""
        texts((title,), "title")
        return rich_table(report_columns(self), title)

    def __repr__(self) -> str:
        accuracies = " ".join(f"{100 * stage.top1:.1f}" for stage in self.stages)
        what = " ".join(word for word in (self.split, "images of", self.data) if word)
        return f"Report({self.count} {what}: {accuracies} % right at stages 1 to {len(self.stages)})"

    def _repr_html_(self) -> str:
        return html_table(report_columns(self), f"{self.count} {self.split} images of {self.data}")

    # --- for programs -------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """JSON values under stable keys; every key is always there, null or an empty list for nothing.

        Keys: `data`, `split`, `count`, `num_classes`; `stages`, a list of objects with the attributes of
        `StageReport`; `budget_unit` ("macs"), `budget_range` ([low, high]), `area`, `area_log`,
        `expected_accuracy`; `violations` (list of stages), `example_violations` (share); `levels`, a list of
        `{level, num_classes, stages}` for levels 2 and on; `per_class`, a list of `{stage, classes}` with
        the attributes of `ClassScore`; `example_quality` and `ensemble`, objects with the attributes of
        `ExampleQuality` and `EnsembleReport`; `device`; `macs_complete`, and in `uncounted_operators` what no
        rule counts. Accuracies, areas and shares are fractions.
        """
        return {
            "data": self.data,
            "split": self.split,
            "count": self.count,
            "num_classes": self.num_classes,
            "stages": [asdict(stage) for stage in self.stages],
            "budget_unit": "macs",
            "budget_range": list(self.budget_range),
            "area": self.area,
            "area_log": self.area_log,
            "expected_accuracy": self.expected_accuracy,
            "violations": list(self.violations),
            "example_violations": self.example_violations,
            "levels": [
                {
                    "level": level.level,
                    "num_classes": level.num_classes,
                    "stages": [asdict(stage) for stage in level.stages],
                }
                for level in self.levels
            ],
            "per_class": [
                {"stage": stage, "classes": [asdict(score) for score in scores]}
                for stage, scores in enumerate(self.per_class, start=1)
            ],
            "example_quality": self.example_quality and self.example_quality.to_dict(),
            "ensemble": self.ensemble and self.ensemble.to_dict(),
            "device": self.device,
            "macs_complete": not self.uncounted_operators,
            "uncounted_operators": list(self.uncounted_operators),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        """The report that `to_dict` wrote, in this version of the package or an earlier one.

        Areas and violations are derived again, other keys ignored.

        Raises:
            ValueError: if a key is missing or holds something else.
        """
        instance(values, Mapping, "values", "what to_dict returns")
        try:
            low, high = values["budget_range"]
            quality, ensemble = values.get("example_quality"), values.get("ensemble")
            report = cls(
                data=values["data"],
                split=values["split"],
                count=values["count"],
                num_classes=values["num_classes"],
                stages=_stages(values["stages"]),
                budget_range=(low, high),
                example_violations=values["example_violations"],
                levels=tuple(
                    LevelReport(level["level"], level["num_classes"], _stages(level["stages"]))
                    for level in values["levels"]
                ),
                per_class=tuple(
                    tuple(ClassScore(**score) for score in stage["classes"]) for stage in values["per_class"]
                ),
                example_quality=None if quality is None else ExampleQuality.from_dict(quality),
                ensemble=None if ensemble is None else EnsembleReport.from_dict(ensemble),
                device=values.get("device"),
                uncounted_operators=tuple(values.get("uncounted_operators", ())),
            )
            check_declared(report)
            report.curve()  # accuracies are shares, costs are above 0
        except KeyError as error:
            raise ValueError(f"this is not a report: the key {error} is missing") from error
        except (TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"this is not a report: {error}") from error
        return report

    def to_csv(self) -> str:
        """A line a stage, the columns those of `StageReport`; an empty cell where nothing was measured."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(StageReport)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(stage) for stage in self.stages)
        return text.getvalue()


def check_head(report: Report | SegmentationReport) -> None:
    """Raises TypeError or ValueError unless the names, counts and the range of a report can be."""
    texts((report.data,), "data")
    texts((report.split,), "split")
    settle(report, "count", whole_number)
    settle(report, "device", optional, words)
    settle(report, "uncounted_operators", all_words)
    limits = numbers(report.budget_range, "budget_range", above=0)
    if len(limits) != 2:
        raise ValueError(f"budget_range must be the least and the largest budget, not {limits}")
    check_range(*limits, log=True)
    object.__setattr__(report, "budget_range", limits)


def stage_costs_in(stages: Sequence[StageReport | SegmentationStage], cost: Cost) -> list[float]:
    """What each stage of a report costs in "macs", "full" or "ms" (median latency).

    Raises:
        ValueError: for another cost, or for latencies that were not measured.
    """
    choice(cost, "cost", ("macs", "full", "ms"))
    found: list[float] = []
    for stage in stages:
        value = stage.latency_median_ms if cost == "ms" else getattr(stage, cost)
        if value is None:
            raise ValueError(f"the report has no latency for stage {stage.stage}: profile the bundle first")
        found.append(value)
    return found


def _stages(values: list[dict[str, Any]]) -> tuple[StageReport, ...]:
    # A key that came later than the first version of the file may be missing, no other.
    names = [field.name for field in fields(StageReport)]
    return tuple(
        StageReport(**{name: stage[name] for name in names if name in stage or name not in _LATER})
        for stage in values
    )
