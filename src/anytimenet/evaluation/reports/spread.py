"""Several seeds of one experiment: mean and sample standard deviation of everything in the reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from anytimenet.core.records import as_json, stored
from anytimenet.core.scores import ScoreSpec
from anytimenet.core.uncounted import uncounted_in, with_note
from anytimenet.evaluation.curves.curve import Curve
from anytimenet.evaluation.reports.report import BEFORE_STAGES, Report
from anytimenet.evaluation.reports.sections import LAYOUTS
from anytimenet.evaluation.reports.stages import Cost, ReadByName
from anytimenet.evaluation.text.tables import counted, percent_decimals, plain_table
from anytimenet.evaluation.text.units import format_count


@dataclass(frozen=True)
class MeanSd:
    """Mean and sample standard deviation (n - 1 below); `sd` is None for a single run.

    >>> MeanSd.of([0.25, 0.5, 0.75])
    MeanSd(mean=0.5, sd=0.25)
    """

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> MeanSd:
        """Of at least one value."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class StageSpread(ReadByName):
    """One stage over the runs; costs and parameters are those of every run.

    `scores` holds a `MeanSd` a score, an attribute of the stage, too; None where some run has none, a tuple
    of them for one a class.
    """

    stage: int
    macs: int
    full: int
    params: int
    scores: Mapping[str, Any] = field(metadata=stored(inline=True))


@dataclass(frozen=True)
class Spread(ReadByName):
    """Several reports of one experiment, run with different seeds.

    Attributes:
        task: name of the task.
        data: name of the data.
        split: name of the split.
        count: examples in each run's split.
        runs: how many reports.
        stages: one entry a stage.
        budget_range: multiply-adds from and to which the areas were taken.
        area: of the runs' curves.
        area_log: the same over the logarithm of the budget.
        sections: what the task adds, attributes of the spread, too: `num_classes`, `expected_accuracy` and
            `example_violations` of labels, `class_names` of label maps.
        specs: what the scores are, the headline first.
        uncounted_operators: operators that no rule counts, so that the multiply-adds are not complete.
    """

    task: str
    data: str
    split: str
    count: int
    runs: int
    stages: tuple[StageSpread, ...]
    budget_range: tuple[float, float]
    area: MeanSd
    area_log: MeanSd
    sections: Mapping[str, Any]
    specs: tuple[ScoreSpec, ...]
    uncounted_operators: tuple[str, ...] = ()

    _mapping = "sections"

    @classmethod
    def of(cls, reports: Sequence[Report]) -> Spread:
        """Joins reports that differ in their seed only.

        Raises:
            ValueError: for no reports, or reports of other tasks, stages, costs, data or budget ranges.

        >>> from types import SimpleNamespace
        >>> from anytimenet.evaluation import make_report
        >>> import numpy as np
        >>> cost, logits = SimpleNamespace(stage=1, macs=10, full=12, params=3), [[2.0, 1.0], [1.0, 2.0]]
        >>> runs = [make_report([np.array(logits)], labels, [cost]) for labels in ([0, 1], [0, 0])]
        >>> Spread.of(runs).stages[0].top1.mean
        0.75
        """
        if not reports:
            raise ValueError("the spread over seeds needs at least one report")
        first = reports[0]
        for report in reports[1:]:
            _refuse_other(first, report)
        layout = LAYOUTS.get(first.task)
        sections = {name: getattr(first, name) for name in (layout.same if layout else ())}
        expected = ("expected_accuracy",) if first.headline.label == "accuracy" else ()
        for name in (*expected, *(layout.mean if layout else ())):
            sections[name] = MeanSd.of([getattr(report, name) for report in reports])
        return cls(
            task=first.task,
            data=first.data,
            split=first.split,
            count=first.count,
            runs=len(reports),
            stages=tuple(
                StageSpread(one.stage, one.macs, one.full, one.params, _joined(place, reports))
                for place, one in enumerate(first.stages)
            ),
            budget_range=first.budget_range,
            area=MeanSd.of([report.area for report in reports]),
            area_log=MeanSd.of([report.area_log for report in reports]),
            sections=sections,
            specs=first.specs,
            uncounted_operators=uncounted_in(reports),
        )

    @property
    def headline(self) -> ScoreSpec:
        """The score that curves show and nets are compared by."""
        return self.specs[0]

    @property
    def values(self) -> list[MeanSd]:
        """The headline score of each stage."""
        return [stage.scores[self.headline.key] for stage in self.stages]

    def costs_in(self, cost: Cost = "macs") -> list[float]:
        """What each stage costs in "macs" or "full"; latencies differ from run to run and are not joined.

        Raises:
            ValueError: for another cost.
        """
        if cost not in ("macs", "full"):
            raise ValueError(f"a spread over seeds has no cost {cost!r}: 'macs' and 'full' are there")
        return [getattr(stage, cost) for stage in self.stages]

    def curve(self, cost: Cost = "macs", label: str = "") -> Curve:
        """Mean headline score against a cost of `costs_in`."""
        means = [value.mean for value in self.values]
        return Curve.from_points(self.costs_in(cost), means, label, cost, self.headline)

    def table(self) -> str:
        """Plain aligned text: a line a stage with mean and standard deviation of the scores."""
        uncounted = self.uncounted_operators
        columns = [
            ("stage", [str(stage.stage) for stage in self.stages]),
            ("multiply-adds", [counted(stage.macs, uncounted) for stage in self.stages]),
            ("parameters", [format_count(stage.params) for stage in self.stages]),
        ]
        for spec in (spec for spec in self.specs if spec.in_table):
            values = [stage.scores[spec.key] for stage in self.stages]
            decimals = percent_decimals(self.count) if spec.interval else 1
            means = ["-" if value is None else spec.shown(value.mean, decimals) for value in values]
            sds = ["-" if value is None or value.sd is None else spec.shown(value.sd, 2) for value in values]
            columns.append((spec.title, means))
            columns.append((f"sd of {self.runs} runs" if spec is self.headline else "sd", sds))
        return with_note(plain_table(columns), uncounted)

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the attributes by name, each joined number as `{mean, sd}`, sd null for one run.

        The scores of a stage and the sections stand under their own keys, and the task, where it is not
        classification, under `kind`.
        """
        sections = as_json(self.sections)
        if self.task not in LAYOUTS:
            sections["scores"] = as_json(self.specs)
        first = {name: value for name, value in sections.items() if name in BEFORE_STAGES}
        return {
            **({} if self.task == "classification" else {"kind": self.task}),
            **{name: getattr(self, name) for name in ("data", "split", "count")},
            **first,
            "runs": self.runs,
            **{name: as_json(getattr(self, name)) for name in ("stages", "budget_range", "area", "area_log")},
            **{name: value for name, value in sections.items() if name not in first},
            "uncounted_operators": [*self.uncounted_operators],
        }


spread_of = Spread.of
SegmentationSpread, SegmentationStageSpread = Spread, StageSpread  # their names when label maps had own ones


def _joined(place: int, reports: Sequence[Report]) -> dict[str, Any]:
    """The scores of one stage over the runs; the ends of intervals are those of a run and are left out."""
    scores = [report.stages[place].scores for report in reports]
    ends = {end for spec in reports[0].specs for end in spec.keys[1:]}
    found: dict[str, Any] = {}
    for key in (key for key in scores[0] if key not in ends):
        values: list[Any] = [row.get(key) for row in scores]
        rows = isinstance(values[0], tuple)
        found[key] = tuple(map(_mean, zip(*values, strict=True))) if rows else _mean(values)
    return found


def _mean(values: Sequence[float | None]) -> MeanSd | None:
    known = [value for value in values if value is not None]
    return MeanSd.of(known) if len(known) == len(values) else None


def _refuse_other(first: Report, other: Report) -> None:
    same = LAYOUTS[first.task].same if first.task in LAYOUTS else ()
    for name in ("task", "data", "split", "count", "specs", *same, "budget_range"):
        one, two = getattr(first, name), getattr(other, name, None)
        if one != two:
            raise ValueError(f"reports with {name} {one!r} and {two!r} are not runs of one experiment")
    costs, other_costs = ([(s.stage, s.macs, s.full, s.params) for s in r.stages] for r in (first, other))
    if costs != other_costs:
        raise ValueError(
            "reports with other stages, costs or parameters are not runs of one net; compare them as curves "
            "of their own"
        )
