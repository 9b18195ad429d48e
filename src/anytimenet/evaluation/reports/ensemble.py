"""What an evaluation says about a running ensemble of the stages, beside the stages themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from anytimenet.core.records import Record, stored
from anytimenet.core.scores import CLASSIFICATION
from anytimenet.evaluation.curves.curve import Curve
from anytimenet.evaluation.reports.stages import ReadByName
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
    scores: Mapping[str, float | None] = field(metadata=stored(inline=True))


@dataclass(frozen=True)
class EnsembleReport(Record):
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
