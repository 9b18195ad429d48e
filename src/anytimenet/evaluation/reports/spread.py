"""Several seeds of one experiment: mean and sample standard deviation of everything in the reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from anytimenet.core.uncounted import uncounted_in, with_note
from anytimenet.evaluation.curves.curve import Curve
from anytimenet.evaluation.reports.report import Cost, Report
from anytimenet.evaluation.text.tables import counted, percent_decimals, plain_table
from anytimenet.evaluation.text.units import format_count

if TYPE_CHECKING:
    from anytimenet.evaluation.reports.segmentation_spread import SegmentationStageSpread


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

    def percent_sd(self) -> str:
        """The standard deviation of a share in percent, as a table has it."""
        return "-" if self.sd is None else f"{100 * self.sd:.2f}"


@dataclass(frozen=True)
class StageSpread:
    """One stage over the runs; costs and parameters are those of every run."""

    stage: int
    macs: int
    full: int
    params: int
    top1: MeanSd
    top5: MeanSd
    ece: MeanSd
    nll: MeanSd


@dataclass(frozen=True)
class Spread:
    """Several reports of one experiment, run with different seeds.

    Attributes:
        data: name of the data.
        split: name of the split.
        count: examples in each run's split.
        runs: how many reports.
        stages: one entry a stage.
        budget_range: multiply-adds from and to which the areas were taken.
        area: of the runs' curves.
        area_log: the same over the logarithm of the budget.
        expected_accuracy: at a budget drawn uniformly from `budget_range`.
        example_violations: share of examples right at some stage and wrong at a later one.
        uncounted_operators: operators that no rule counts, so that the multiply-adds are not complete.
    """

    data: str
    split: str
    count: int
    runs: int
    stages: tuple[StageSpread, ...]
    budget_range: tuple[float, float]
    area: MeanSd
    area_log: MeanSd
    expected_accuracy: MeanSd
    example_violations: MeanSd
    uncounted_operators: tuple[str, ...] = ()

    @classmethod
    def of(cls, reports: Sequence[Report]) -> Spread:
        """Joins reports that differ in their seed only.

        Raises:
            ValueError: for no reports, or reports of other stages, costs, data or budget ranges.

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
        stages = tuple(
            StageSpread(
                stage=same[0].stage,
                macs=same[0].macs,
                full=same[0].full,
                params=same[0].params,
                top1=MeanSd.of([s.top1 for s in same]),
                top5=MeanSd.of([s.top5 for s in same]),
                ece=MeanSd.of([s.ece for s in same]),
                nll=MeanSd.of([s.nll for s in same]),
            )
            for same in zip(*(report.stages for report in reports), strict=True)
        )
        return cls(
            data=first.data,
            split=first.split,
            count=first.count,
            runs=len(reports),
            stages=stages,
            budget_range=first.budget_range,
            area=MeanSd.of([report.area for report in reports]),
            area_log=MeanSd.of([report.area_log for report in reports]),
            expected_accuracy=MeanSd.of([report.expected_accuracy for report in reports]),
            example_violations=MeanSd.of([report.example_violations for report in reports]),
            uncounted_operators=uncounted_in(reports),
        )

    def costs_in(self, cost: Cost = "macs") -> list[float]:
        """What each stage costs in "macs" or "full"; latencies differ from run to run and are not joined.

        Raises:
            ValueError: for another cost.
        """
        return spread_costs_in(self.stages, cost)

    def curve(self, cost: Cost = "macs", label: str = "") -> Curve:
        """Mean top-1 accuracy against a cost of `costs_in`."""
        return Curve.from_points(self.costs_in(cost), [s.top1.mean for s in self.stages], label, cost)

    def table(self) -> str:
        """Plain aligned text: a line a stage with mean and standard deviation of the accuracy."""
        decimals = percent_decimals(self.count)
        uncounted = self.uncounted_operators
        table = plain_table(
            [
                ("stage", [str(stage.stage) for stage in self.stages]),
                ("multiply-adds", [counted(stage.macs, uncounted) for stage in self.stages]),
                ("parameters", [format_count(stage.params) for stage in self.stages]),
                ("accuracy %", [f"{100 * stage.top1.mean:.{decimals}f}" for stage in self.stages]),
                (f"sd of {self.runs} runs", [stage.top1.percent_sd() for stage in self.stages]),
            ]
        )
        return with_note(table, uncounted)

    def to_dict(self) -> dict[str, Any]:
        """JSON values: the attributes by name, each joined number as `{mean, sd}`, sd null for one run."""
        return {
            **asdict(self),
            "stages": [asdict(s) for s in self.stages],
            "budget_range": [*self.budget_range],
            "uncounted_operators": [*self.uncounted_operators],
        }


def spread_costs_in(stages: Sequence[StageSpread | SegmentationStageSpread], cost: Cost) -> list[float]:
    """What each stage of a spread costs in "macs" or "full".

    Raises:
        ValueError: for another cost.
    """
    if cost not in ("macs", "full"):
        raise ValueError(f"a spread over seeds has no cost {cost!r}: 'macs' and 'full' are there")
    return [getattr(stage, cost) for stage in stages]


def _refuse_other(first: Report, other: Report) -> None:
    for name in ("data", "split", "count", "num_classes", "budget_range"):
        one, two = getattr(first, name), getattr(other, name)
        if one != two:
            raise ValueError(f"reports with {name} {one!r} and {two!r} are not runs of one experiment")
    costs, other_costs = ([(s.stage, s.macs, s.full, s.params) for s in r.stages] for r in (first, other))
    if costs != other_costs:
        raise ValueError(
            "reports with other stages, costs or parameters are not runs of one net; compare them as curves "
            "of their own"
        )
