"""What an evaluation says about a running ensemble of the stages, beside the stages themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anytimenet.core.scores import CLASSIFICATION
from anytimenet.evaluation.curves.curve import Curve
from anytimenet.evaluation.reports.stages import ReadByName, scores_from_json
from anytimenet.evaluation.scores.example_quality import ExampleQuality
from anytimenet.evaluation.text.tables import percent_decimals, plain_table, score_columns
from anytimenet.evaluation.text.units import format_count


@dataclass(frozen=True)
class EnsembleStage(ReadByName):
    """The answer that combines stages 1..k.

    Attributes:
        stage: k.
        macs_cumulative: multiply-adds of the steps 1..k, since every one of those stages must answer.
        scores: as in `StageReport`; `nll` is None where a true class has probability 0.
    """

    stage: int
    macs_cumulative: int
    scores: Mapping[str, Any]


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
        scores = [stage.scores for stage in self.stages]
        return plain_table(
            [
                ("stages", [f"1..{stage.stage}" for stage in self.stages]),
                ("multiply-adds", [format_count(stage.macs_cumulative) for stage in self.stages]),
                *score_columns(CLASSIFICATION, scores, percent_decimals(self.count)),
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """The attributes as JSON values."""
        return {
            "kind": self.kind,
            "count": self.count,
            "stages": [
                {"stage": stage.stage, "macs_cumulative": stage.macs_cumulative, **stage.scores}
                for stage in self.stages
            ],
            "example_violations": self.example_violations,
            "example_quality": self.example_quality.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EnsembleReport:
        """The reverse of `to_dict`.

        Raises:
            KeyError, TypeError: for other values.
        """
        keys = [key for spec in CLASSIFICATION for key in spec.keys]
        return cls(
            kind=values["kind"],
            count=values["count"],
            stages=tuple(
                EnsembleStage(stage["stage"], stage["macs_cumulative"], scores_from_json(stage, keys))
                for stage in values["stages"]
            ),
            example_violations=values["example_violations"],
            example_quality=ExampleQuality.from_dict(values["example_quality"]),
        )
