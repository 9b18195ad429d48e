"""The optimality gap: what a stage loses by sharing weights, against its sub-network trained alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from anytimenet.evaluation.reports.report import Report
from anytimenet.evaluation.reports.spread import MeanSd
from anytimenet.evaluation.text.tables import percent_decimals, plain_table
from anytimenet.evaluation.text.units import format_count


@dataclass(frozen=True)
class StageGap:
    """One stage in both trainings; errors are fractions of wrong answers, top-1.

    Attributes:
        stage: number of the stage in the joint net.
        macs: multiply-adds of the sub-network.
        full: the same in the `full` convention.
        params: its parameters.
        joint_error: trained together with the other stages.
        alone_error: trained by itself.
        gap: joint minus alone, run by run; its `sd` is that of the differences.
    """

    stage: int
    macs: int
    full: int
    params: int
    joint_error: MeanSd
    alone_error: MeanSd
    gap: MeanSd


@dataclass(frozen=True)
class OptimalityGap:
    """Every stage that was trained alone, beside the joint net.

    Attributes:
        data: name of the data.
        split: name of the split.
        count: examples in each run's split.
        runs: seeds behind the means.
        stages: one entry a stage that was trained alone.
        joint: (multiply-adds, error) of every stage of the joint net.
    """

    data: str
    split: str
    count: int
    runs: int
    stages: tuple[StageGap, ...]
    joint: tuple[tuple[int, MeanSd], ...]

    @classmethod
    def of(cls, joint: Sequence[Report], alone: Mapping[int, Sequence[Report]]) -> OptimalityGap:
        """Compares stage k of `joint` with the one stage of `alone[k]`, run by run.

        Args:
            joint: one report a seed, of the whole net.
            alone: for each stage one report a seed, in the same order, of sub-network k alone.

        Raises:
            ValueError: if the runs are not of the same data, as many on both sides, or cost differently.

        >>> import numpy as np
        >>> from types import SimpleNamespace
        >>> from anytimenet.evaluation import make_report
        >>> costs = [SimpleNamespace(stage=k, macs=10 * k, full=12 * k, params=k) for k in (1, 2)]
        >>> wrong, right = np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]])
        >>> joint = make_report([wrong, right], np.array([0]), costs)
        >>> alone = make_report([right], np.array([0]), costs[:1])
        >>> OptimalityGap.of([joint], {1: [alone]}).stages[0].gap.mean
        1.0
        """
        if not joint or not alone:
            raise ValueError("an optimality gap needs reports of the joint net and of a stage alone")
        first = joint[0]
        for report in (*joint, *(report for reports in alone.values() for report in reports)):
            if report.headline.label != "accuracy":
                raise ValueError(f"an optimality gap is one of accuracies, not of {report.headline.label}")
            if (report.data, report.split, report.count) != (first.data, first.split, first.count):
                raise ValueError(
                    f"{report.count} {report.split} images of {report.data} do not compare with "
                    f"{first.count} {first.split} images of {first.data}: evaluate both on the same"
                )
        return cls(
            data=first.data,
            split=first.split,
            count=first.count,
            runs=len(joint),
            stages=tuple(_stage_gap(stage, joint, alone[stage]) for stage in sorted(alone)),
            joint=tuple((s.macs, _errors(joint, s.stage)) for s in first.stages),
        )

    def table(self) -> str:
        """Plain aligned text: a line a stage, errors in percent, the gap in points."""
        decimals = percent_decimals(self.count)

        def cells(values: Sequence[MeanSd], sign: str = "") -> list[str]:
            return [
                f"{100 * value.mean:{sign}.{decimals}f}"
                + ("" if value.sd is None else f" +- {100 * value.sd:.{decimals}f}")
                for value in values
            ]

        return plain_table(
            [
                ("stage", [str(s.stage) for s in self.stages]),
                ("multiply-adds", [format_count(s.macs) for s in self.stages]),
                ("joint error %", cells([s.joint_error for s in self.stages])),
                ("alone error %", cells([s.alone_error for s in self.stages])),
                ("gap", cells([s.gap for s in self.stages], "+")),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON values: data, split, count, runs and the stages; sd is null for a single run."""
        values = {name: getattr(self, name) for name in ("data", "split", "count", "runs")}
        return {**values, "stages": [asdict(stage) for stage in self.stages]}


def _stage_gap(stage: int, joint: Sequence[Report], alone: Sequence[Report]) -> StageGap:
    if len(alone) != len(joint):
        raise ValueError(f"{len(joint)} joint runs and {len(alone)} of stage {stage} alone: train as many")
    if not 1 <= stage <= len(joint[0].stages):
        raise ValueError(f"stage {stage} is no stage of the joint net, which has {len(joint[0].stages)}")
    whole = joint[0].stages[stage - 1]
    for report in alone:
        if len(report.stages) != 1 or report.stages[0].macs != whole.macs:
            raise ValueError(
                f"the net alone is not stage {stage} of the joint net: "
                f"{len(report.stages)} stages, {format_count(report.stages[-1].macs)} multiply-adds instead "
                f"of {format_count(whole.macs)}"
            )
    pairs = [(1 - j.stages[stage - 1].top1, 1 - a.stages[0].top1) for j, a in zip(joint, alone, strict=True)]
    return StageGap(
        stage=stage,
        macs=whole.macs,
        full=whole.full,
        params=whole.params,
        joint_error=_errors(joint, stage),
        alone_error=MeanSd.of([error for _, error in pairs]),
        gap=MeanSd.of([one - other for one, other in pairs]),
    )


def _errors(joint: Sequence[Report], stage: int) -> MeanSd:
    return MeanSd.of([1 - report.stages[stage - 1].top1 for report in joint])
