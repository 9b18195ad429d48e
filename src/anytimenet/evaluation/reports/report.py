"""What an evaluation says of any task: per stage, over budgets, section by section; as JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from anytimenet.core.checks import (
    all_words,
    instance,
    json_values,
    numbers,
    optional,
    settle,
    several,
    texts,
    whole_number,
    words,
)
from anytimenet.core.html_table import html_table
from anytimenet.core.records import JsonForm, Record, as_json, from_json, stored
from anytimenet.core.scores import ScoreSpec
from anytimenet.core.uncounted import with_note
from anytimenet.evaluation.curves.curve import Curve, check_range, worse_than_before
from anytimenet.evaluation.reports.sections import LAYOUTS
from anytimenet.evaluation.reports.stages import (
    Cost,
    ReadByName,
    StageReport,
    scored,
    stage_costs_in,
)
from anytimenet.evaluation.text.tables import (
    Column,
    counted,
    percent_decimals,
    plain_table,
    rich_table,
    score_columns,
)
from anytimenet.evaluation.text.units import format_count

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, repr=False)
class Report(ReadByName, Record):
    """The stages of a net on one data split.

    It keeps the name of its task and what the scores are, so that a report is read, compared and drawn where
    nothing else is known of the task.

    Attributes:
        task: "classification", "segmentation", or the name of another task.
        data: name of the data.
        split: name of the split.
        count: examples.
        stages: one entry a stage, stage 1 first.
        budget_range: multiply-adds from and to which the areas are taken.
        sections: what the task adds, attributes of the report, too: `ClassificationSections`,
            `SegmentationSections`, of other tasks a dict of JSON values.
        specs: what the scores are, the headline first; those of the task by default.
        device: where the net ran, such as "cpu"; None where it is not known.
        uncounted_operators: operators that no rule counts, so that the multiply-adds are not complete.
        latency_from: the key of the cost table that latencies come from; None where there are none, or in
            reports of before.

    Raises:
        TypeError, ValueError: for a field that holds something else, or scores of another task.

    >>> stages = [StageReport(k, 10 * k, 12 * k, k, {"psnr": 20.0 + k}) for k in (1, 2)]
    >>> psnr = ScoreSpec("psnr", "PSNR", "dB")
    >>> report = Report("denoising", "photos", "test", 9, stages, (10, 30), specs=(psnr,))
    >>> report.area, report.stages[1].psnr, report
    (21.5, 22.0, Report(9 test images of photos: 21.0 22.0 dB PSNR at stages 1 to 2))
    """

    task: str
    data: str
    split: str
    count: int
    stages: tuple[StageReport, ...]
    budget_range: tuple[float, float]
    sections: Any = field(default_factory=dict)
    specs: tuple[ScoreSpec, ...] = ()
    device: str | None = field(default=None, metadata=stored(later=True))
    uncounted_operators: tuple[str, ...] = field(default=(), metadata=stored(later=True))
    latency_from: str | None = field(default=None, metadata=stored(later=True))

    json_form = JsonForm(what="a report")
    _mapping = "sections"

    def __post_init__(self) -> None:
        settle(self, "task", words)
        texts((self.data,), "data")
        texts((self.split,), "split")
        settle(self, "count", whole_number)
        settle(self, "device", optional, words)
        settle(self, "uncounted_operators", all_words)
        settle(self, "latency_from", optional, words)
        limits = numbers(self.budget_range, "budget_range", above=0)
        if len(limits) != 2:
            raise ValueError(f"budget_range must be the least and the largest budget, not {limits}")
        check_range(*limits, log=True)
        object.__setattr__(self, "budget_range", limits)
        settle(self, "specs", several)
        if not self.specs and self.task in LAYOUTS:
            object.__setattr__(self, "specs", LAYOUTS[self.task].specs)
        for spec in self.specs:
            instance(spec, ScoreSpec, "specs", 'ScoreSpec("psnr", "PSNR", "dB")')
        if not self.specs:
            raise ValueError(f"specs: nothing is known of the scores of the task {self.task!r}")
        object.__setattr__(self, "stages", scored(several(self.stages, "stages"), self.specs))
        if not self.stages:
            raise ValueError("a report needs at least one stage in stages")
        self._settle_sections()

    def _settle_sections(self) -> None:
        if self.task in LAYOUTS:
            kind = LAYOUTS[self.task].sections
            instance(self.sections, kind, f"sections of the task {self.task}", f"{kind.__name__}(...)")
        else:
            sections = json_values(self.sections, f"sections of the task {self.task}")
            object.__setattr__(self, "sections", sections)
        if self.task == "classification":
            parts = (*self.levels, *([self.ensemble] if self.ensemble else ()))
            if any(len(part.stages) != len(self.stages) for part in parts):
                raise ValueError(f"every level and the ensemble need {len(self.stages)} stages, one of each")

    # --- over budgets -------------------------------------------------------------------------------

    @property
    def headline(self) -> ScoreSpec:
        """The score that curves show and nets are compared by."""
        return self.specs[0]

    @property
    def values(self) -> list[float]:
        """The headline score of each stage."""
        return [getattr(stage, self.headline.key) for stage in self.stages]

    def curve(self, cost: Cost = "macs", label: str = "") -> Curve:
        """The headline score against `cost`: "macs", "full", or "ms" for the median latency.

        Raises:
            ValueError: for another cost, or for latencies that were not measured.
        """
        return Curve.from_points(stage_costs_in(self.stages, cost), self.values, label, cost, self.headline)

    @property
    def area(self) -> float:
        """Mean headline score over `budget_range` in multiply-adds; see `Curve.area`."""
        return self.curve().area(*self.budget_range)

    @property
    def area_log(self) -> float:
        """The same over the logarithm of the budget."""
        return self.curve().area(*self.budget_range, log=True)

    @property
    def expected_accuracy(self) -> float:
        """Expected headline score at a budget drawn uniformly from `budget_range`; equals `area`."""
        return self.curve().expected_accuracy(*self.budget_range)

    @property
    def violations(self) -> tuple[int, ...]:
        """The stages whose headline score is below that of an earlier stage."""
        return worse_than_before(self.values)

    # --- for people ---------------------------------------------------------------------------------

    def table(self) -> str:
        """Plain aligned text: a line a stage; latencies only if profiled."""
        return with_note(plain_table(self._columns()), self.uncounted_operators)

    def rich_table(self, title: str = "") -> Table:
        """The same for a `rich` console."""
        texts((title,), "title")
        return rich_table(self._columns(), title)

    def __repr__(self) -> str:
        spec = self.headline
        values = " ".join(spec.shown(value) for value in self.values)
        what = " ".join(word for word in (self.split, "images of", self.data) if word)
        words = "% right" if self.task == "classification" else f"{spec.unit} {spec.label}"
        return (
            f"{type(self).__name__}({self.count} {what}: {values} {words} at stages 1 to {len(self.stages)})"
        )

    def _repr_html_(self) -> str:
        return html_table(self._columns(), f"{self.count} {self.split} images of {self.data}")

    def _columns(self) -> list[Column]:
        """Stage, multiply-adds, parameters, scores, coarser levels, latency if profiled."""
        stages, decimals = self.stages, percent_decimals(self.count)
        columns = [
            ("stage", [str(stage.stage) for stage in stages]),
            ("multiply-adds", [counted(stage.macs, self.uncounted_operators) for stage in stages]),
            ("parameters", [format_count(stage.params) for stage in stages]),
            *score_columns(self.specs, [stage.scores for stage in stages], decimals),
        ]
        if self.task == "classification":
            for level in self.levels:
                shown = [self.headline.shown(stage.top1, decimals) for stage in level.stages]
                columns.append((f"level {level.level} %", shown))
        for header, name in (("median ms", "latency_median_ms"), ("p99 ms", "latency_p99_ms")):
            if any(getattr(stage, name) is not None for stage in stages):
                columns.append((header, [_milliseconds(stage, name) for stage in stages]))
        return columns

    # --- for programs -------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """JSON values under stable keys; every key is always there, null or an empty list for nothing.

        Keys: `kind`, the task, absent of classification; `data`, `split`, `count`; `stages`, a list of
        objects with the costs, scores and latencies of `StageReport`; `budget_unit` ("macs"), `budget_range`
        ([low, high]), `area`, `area_log`, of accuracies `expected_accuracy`; `violations` (list of stages);
        `device`; `macs_complete`, and in `uncounted_operators` what no rule counts; `latency_from`. Shares
        are fractions.

        Of classification also `num_classes`; `example_violations` (share); `levels`, a list of
        `{level, num_classes, stages}` for levels 2 and on; `per_class`, a list of `{stage, classes}` with the
        attributes of `ClassScore`; `example_quality` and `ensemble`, objects with the attributes of
        `ExampleQuality` and `EnsembleReport`. Of segmentation `pixels` and `class_names`. Of other tasks
        `scores`, a list of objects with the attributes of `ScoreSpec`, and `sections`.
        """
        sections = as_json(self.sections)
        if self.task not in LAYOUTS:
            sections = {"scores": as_json(self.specs), "sections": sections}
        first = {name: sections.pop(name) for name in BEFORE_STAGES if name in sections}
        expected = {"expected_accuracy": self.expected_accuracy} if self.headline.label == "accuracy" else {}
        return {
            **({} if self.task == "classification" else {"kind": self.task}),
            "data": self.data,
            "split": self.split,
            "count": self.count,
            **first,
            "stages": as_json(self.stages),
            "budget_unit": "macs",
            "budget_range": list(self.budget_range),
            "area": self.area,
            "area_log": self.area_log,
            **expected,
            "violations": list(self.violations),
            **sections,
            "device": self.device,
            "macs_complete": not self.uncounted_operators,
            "uncounted_operators": list(self.uncounted_operators),
            "latency_from": self.latency_from,
        }

    @classmethod
    def _as_read(cls, values: dict[str, Any]) -> dict[str, Any]:
        """The fields in what `to_dict` gave, in this version of the package or an earlier one."""
        task = values.get("kind", "classification")
        if not isinstance(task, str) or task not in LAYOUTS:
            return {**values, "task": task, "specs": values.get("scores")}
        return {**values, "task": task, "specs": [], "sections": from_json(LAYOUTS[task].sections, values)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The report that `to_dict` wrote, of any task; areas and violations are derived again.

        Raises:
            ValueError: if a key is missing or holds something else.
        """
        instance(values, Mapping, "values", "what to_dict returns")
        report = super().from_dict(values)
        report.curve()  # accuracies are shares, costs are above 0
        return report

    def to_csv(self) -> str:
        """A line a stage, the columns those of `StageReport`; an empty cell where nothing was measured."""
        rows = [self._csv_row(stage) for stage in self.stages]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def _csv_row(self, stage: StageReport) -> dict[str, Any]:
        return stage.to_dict()


BEFORE_STAGES = ("scores", "num_classes", "pixels", "class_names")


def _milliseconds(stage: StageReport, name: str) -> str:
    value = getattr(stage, name)
    return "-" if value is None else f"{'~' * stage.latency_estimated}{value:.2f}"
