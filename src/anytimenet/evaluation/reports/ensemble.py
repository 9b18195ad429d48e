"""What an evaluation says about a running ensemble of the stages, beside the stages themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from anytimenet.evaluation.curves.curve import Curve
from anytimenet.evaluation.scores.example_quality import ExampleQuality
from anytimenet.evaluation.text.tables import Column, percent_decimals, plain_table
from anytimenet.evaluation.text.units import format_count


@dataclass(frozen=True)
class EnsembleStage:
    """The answer that combines stages 1..k.

    Attributes:
        stage: k.
        macs_cumulative: multiply-adds of the steps 1..k, since every one of those stages must answer.
        top1: share of examples answered right; `top1_low` and `top1_high` bound the 95 % Wilson interval.
        top5: share of examples whose label is among the five most probable classes.
        ece: expected calibration error, 15 bins.
        nll: mean negative log likelihood in nats; None where a true class has probability 0.
        failure_auroc: see `metrics.failure_auroc`.
    """

    stage: int
    macs_cumulative: int
    top1: float
    top1_low: float
    top1_high: float
    top5: float
    top5_low: float
    top5_high: float
    ece: float
    nll: float | None
    failure_auroc: float | None


@dataclass(frozen=True)
class EnsembleReport:
    """A running ensemble on one data split; `kind` is one of `ENSEMBLES`, the rest as in `Report`."""

    kind: str
    count: int
    stages: tuple[EnsembleStage, ...]
    example_violations: float
    example_quality: ExampleQuality

    def curve(self, label: str = "") -> Curve:
        """Top-1 accuracy against cumulative multiply-adds."""
        return Curve.from_points(
            [stage.macs_cumulative for stage in self.stages], [stage.top1 for stage in self.stages], label
        )

    def table(self) -> str:
        """Plain aligned text: a line a stage."""
        decimals = percent_decimals(self.count)
        columns: list[Column] = [
            ("stages", [f"1..{stage.stage}" for stage in self.stages]),
            ("multiply-adds", [format_count(stage.macs_cumulative) for stage in self.stages]),
            ("accuracy %", [f"{100 * stage.top1:.{decimals}f}" for stage in self.stages]),
            (
                "95 % interval",
                [
                    f"[{100 * stage.top1_low:.{decimals}f}, {100 * stage.top1_high:.{decimals}f}]"
                    for stage in self.stages
                ],
            ),
        ]
        return plain_table(columns)

    def to_dict(self) -> dict[str, Any]:
        """The attributes as JSON values."""
        return {
            "kind": self.kind,
            "count": self.count,
            "stages": [asdict(stage) for stage in self.stages],
            "example_violations": self.example_violations,
            "example_quality": self.example_quality.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EnsembleReport:
        """The reverse of `to_dict`.

        Raises:
            KeyError, TypeError: for other values.
        """
        return cls(
            kind=values["kind"],
            count=values["count"],
            stages=tuple(
                EnsembleStage(**{f.name: stage[f.name] for f in fields(EnsembleStage)})
                for stage in values["stages"]
            ),
            example_violations=values["example_violations"],
            example_quality=ExampleQuality.from_dict(values["example_quality"]),
        )
