"""What a task adds to its report besides the scores of the stages, and how that is written as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from anytimenet.core.checks import fraction, instance, optional, several, texts, whole_number
from anytimenet.core.declared import check_declared
from anytimenet.core.scores import CLASSIFICATION, SEGMENTATION, ScoreSpec
from anytimenet.evaluation.reports.ensemble import EnsembleReport
from anytimenet.evaluation.reports.stages import StageReport
from anytimenet.evaluation.scores.example_quality import ExampleQuality
from anytimenet.evaluation.scores.metrics import ClassScore

NEEDED: Any = object()


@dataclass(frozen=True)
class LevelReport:
    """The stages on one coarser label level; `level` counts from 1, which is the fine level."""

    level: int
    num_classes: int
    stages: tuple[StageReport, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        stages = [stage.to_dict() for stage in self.stages]
        return {"level": self.level, "num_classes": self.num_classes, "stages": stages}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LevelReport:
        """The reverse of `to_dict`."""
        stages = tuple(StageReport.from_dict(stage, LABELS.keys) for stage in values["stages"])
        return cls(values["level"], values["num_classes"], stages)


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        check: (value, name) -> the value, settled; raises TypeError or ValueError for another kind.
        write: to JSON values.
        read: from them.
        default: where a report is made without it; `NEEDED` if none can be.
        later: whether it came later than the first version of the file, which then lacks it.
        first: whether its key stands before the stages.
        seeds: over runs with several seeds: the "same" in all, joined as a "mean", or left out.
    """

    check: Callable[[Any, str], Any]
    write: Callable[[Any], Any] = lambda value: value
    read: Callable[[Any], Any] = lambda value: value
    default: Any = NEEDED
    later: bool = False
    first: bool = False
    seeds: Literal["same", "mean"] | None = None


@dataclass(frozen=True)
class Layout:
    """Scores and sections of a task's report.

    Attributes:
        specs: of the scores, the headline first.
        sections: by name, in the order of the JSON.
        rows: scores of a stage that are tuples, one number a class.
    """

    specs: tuple[ScoreSpec, ...]
    sections: Mapping[str, Section] = field(default_factory=dict)
    rows: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """What the scores of a stage go by, all but rows."""
        return tuple(key for spec in self.specs for key in spec.keys)

    def settled(self, sections: Mapping[str, Any]) -> dict[str, Any]:
        """The sections of a report, checked, with the defaults of those that it lacks.

        Raises:
            TypeError, ValueError: for one that is missing, unknown or of another kind.
        """
        unknown = sections.keys() - self.sections.keys()
        if unknown:
            raise ValueError(f"sections: {', '.join(sorted(map(str, unknown)))} belong to no such report")
        found = {name: sections.get(name, kind.default) for name, kind in self.sections.items()}
        missing = [name for name, value in found.items() if value is NEEDED]
        if missing:
            raise ValueError(f"sections: {', '.join(missing)} of the report is missing")
        return {name: self.sections[name].check(value, name) for name, value in found.items()}

    def written(self, sections: Mapping[str, Any], *, first: bool) -> dict[str, Any]:
        """The sections that stand before the stages, or those behind them, as JSON values."""
        chosen = {name: kind for name, kind in self.sections.items() if kind.first == first}
        return {name: kind.write(sections[name]) for name, kind in chosen.items()}

    def read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The sections in the JSON values of a report; one that came later may be missing.

        Raises:
            KeyError, TypeError, ValueError: for other values.
        """
        return {
            name: kind.read(values[name])
            for name, kind in self.sections.items()
            if not (kind.later and name not in values)
        }


def _each(wanted: type, example: str) -> Callable[[Any, str], tuple[Any, ...]]:
    def check(value: Any, name: str) -> tuple[Any, ...]:
        return tuple(instance(item, wanted, name, example) for item in several(value, name))

    return check


def _classes(value: Any, name: str) -> tuple[tuple[ClassScore, ...], ...]:
    row = _each(ClassScore, "a ClassScore a class")
    return tuple(row(item, name) for item in several(value, name))


def _maybe(wanted: type) -> Section:
    """A dataclass with `to_dict` and `from_dict`, or None."""

    def check(value: Any, name: str) -> Any:
        return None if value is None else instance(value, wanted, name, f"a {wanted.__name__}")

    return Section(
        check,
        lambda value: value and value.to_dict(),
        lambda value: optional(value, "", _read, wanted),
        default=None,
        later=True,
    )


def _read(value: Any, name: str, wanted: Any) -> Any:
    found = wanted.from_dict(value)
    check_declared(found, name)
    return found


def _write_classes(value: Sequence[Sequence[ClassScore]]) -> list[dict[str, Any]]:
    rows = enumerate(value, start=1)
    return [{"stage": stage, "classes": [asdict(score) for score in scores]} for stage, scores in rows]


def _read_classes(value: Any) -> tuple[tuple[ClassScore, ...], ...]:
    rows = tuple(tuple(ClassScore(**score) for score in row["classes"]) for row in value)
    for score in (score for row in rows for score in row):
        check_declared(score, "per_class.")
    return rows


def _read_levels(value: Any) -> tuple[LevelReport, ...]:
    levels = tuple(LevelReport.from_dict(level) for level in value)
    for level in levels:
        check_declared(level, "levels.")
    return levels


LABELS = Layout(
    CLASSIFICATION,
    {
        "num_classes": Section(lambda value, name: whole_number(value, name, 1), first=True, seeds="same"),
        "example_violations": Section(fraction, seeds="mean"),
        "levels": Section(
            _each(LevelReport, "a LevelReport"),
            lambda value: [level.to_dict() for level in value],
            _read_levels,
            default=(),
        ),
        "per_class": Section(_classes, _write_classes, _read_classes, default=()),
        "example_quality": _maybe(ExampleQuality),
        "ensemble": _maybe(EnsembleReport),
    },
)
MAPS = Layout(
    SEGMENTATION,
    {
        "pixels": Section(whole_number, first=True),
        "class_names": Section(texts, list, tuple, first=True, seeds="same"),
    },
    rows=("class_ious",),
)
LAYOUTS = {"classification": LABELS, "segmentation": MAPS}
"""Of the tasks that this package has; a report of another brings its scores, and sections in plain JSON."""
