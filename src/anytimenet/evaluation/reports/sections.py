"""What a task adds to its report besides the scores of the stages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from anytimenet.core.checks import fraction, instance, settle, several, texts, whole_number
from anytimenet.core.records import Record, from_json, stored
from anytimenet.core.scores import CLASSIFICATION, SEGMENTATION, ScoreSpec
from anytimenet.evaluation.reports.ensemble import EnsembleReport
from anytimenet.evaluation.reports.stages import StageReport, scored
from anytimenet.evaluation.scores.example_quality import ExampleQuality
from anytimenet.evaluation.scores.metrics import ClassScore


@dataclass(frozen=True)
class LevelReport:
    """The stages on one coarser label level; `level` counts from 1, which is the fine level."""

    level: int
    num_classes: int
    stages: tuple[StageReport, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", scored(self.stages, CLASSIFICATION))


def _classes_to_json(rows: Sequence[Sequence[ClassScore]]) -> list[dict[str, Any]]:
    return [{"stage": k, "classes": [asdict(one) for one in row]} for k, row in enumerate(rows, start=1)]


def _classes_from_json(rows: object) -> tuple[tuple[ClassScore, ...], ...]:
    kept = [instance(row, dict, "per_class", "{stage, classes}") for row in several(rows, "per_class")]
    return tuple(
        tuple(from_json(ClassScore, one) for one in several(row.get("classes"), "classes")) for row in kept
    )


@dataclass(frozen=True)
class ClassificationSections(Record):
    """Of one label an image.

    Attributes:
        num_classes: classes of the fine level.
        example_violations: share of examples right at some stage and wrong at a later one.
        levels: the coarser label levels.
        per_class: the classes of the fine level for each stage; empty unless asked for.
        example_quality: how often single examples get worse; None in reports written before it was measured.
        ensemble: a running ensemble of the stages; None unless asked for.
    """

    num_classes: int
    example_violations: float
    levels: tuple[LevelReport, ...] = ()
    per_class: tuple[tuple[ClassScore, ...], ...] = field(
        default=(), metadata=stored(write=_classes_to_json, read=_classes_from_json)
    )
    example_quality: ExampleQuality | None = field(default=None, metadata=stored(later=True))
    ensemble: EnsembleReport | None = field(default=None, metadata=stored(later=True))

    def __post_init__(self) -> None:
        settle(self, "num_classes", whole_number, 1)
        settle(self, "example_violations", fraction)
        for name, kind in (("levels", LevelReport), ("per_class", tuple)):
            settle(self, name, several)
            for item in getattr(self, name):
                instance(item, kind, name, f"a {kind.__name__}")


@dataclass(frozen=True)
class SegmentationSections(Record):
    """Of label maps.

    Attributes:
        pixels: how many pixels of the images count.
        class_names: of the classes, class 0 first.
    """

    pixels: int
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        settle(self, "pixels", whole_number)
        settle(self, "class_names", texts)


@dataclass(frozen=True)
class Layout:
    """The report of a task: its scores, the headline first, and the class of its sections.

    Over runs with several seeds the sections `same` are those of every run, and `mean` are joined.
    """

    specs: tuple[ScoreSpec, ...]
    sections: type[ClassificationSections | SegmentationSections]
    same: tuple[str, ...]
    mean: tuple[str, ...] = ()


LAYOUTS = {
    "classification": Layout(
        CLASSIFICATION, ClassificationSections, ("num_classes",), ("example_violations",)
    ),
    "segmentation": Layout(SEGMENTATION, SegmentationSections, ("class_names",)),
}
"""Of the tasks that this package has; a report of another brings its scores, and sections in plain JSON."""
