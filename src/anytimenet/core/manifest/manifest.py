"""What `bundle.json` says of a saved net, without torch; long, for each field is told and checked here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from anytimenet.core import checks
from anytimenet.core.answers.level_selection import LevelSelection
from anytimenet.core.answers.standing import best_stage
from anytimenet.core.errors import BundleError
from anytimenet.core.files.regular import read_json
from anytimenet.core.files.writing import write_json
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.core.manifest.checks import (
    check_classes,
    check_input,
    check_levels,
    check_stages,
    check_task,
)
from anytimenet.core.manifest.folder import (
    AGAIN,
    IN_BUNDLE,
    LARGEST_JSON,
    MANIFEST_NAME,
    FileRecord,
    check_file_name,
    find_bundle,
)
from anytimenet.core.manifest.records import (
    OWN,
    InputRecord,
    NetOrigin,
    ScoreRecord,
    StageRecord,
    Structure,
    TaskRecord,
    Thresholds,
)
from anytimenet.core.manifest.versions import FORMAT_VERSION, checked, stamped
from anytimenet.core.records import Record, from_json

_KEYS = (
    *("net", "structure", "task", "score", "input", "class_names", "taxonomy", "preprocessing"),
    *("input_shape", "stages", "level_selection", "thresholds", "provenance", "extensions", "files"),
)


@dataclass(frozen=True)
class Manifest(Record):
    """The content of `bundle.json`.

    Attributes:
        net: how the net is built again; None for a net built by hand.
        class_names: names of each label level, fine level first.
        preprocessing: from an image to the net's input.
        input_shape: (C, H, W).
        stages: one record a stage, 1..K.
        taxonomy: how the label levels hang together; None if there is one level.
        provenance: a free JSON object: recipe, data name and fingerprint, versions, seed, ...
        files: the other files of the folder, by their path in it.
        level_selection: the label level that each stage answers with; None for the fine level.
        task: what is predicted; by default what classes and provenance tell.
        score: what the validation accuracies of the stages measure; by default that of the task.
        input: what the net reads; by default images of `input_shape`.
        thresholds: when a run may stop early; None if no policy has stored any.
        structure: how a net built by hand is recognised; `Bundle.save` fills it in.
        extensions: a JSON object of whoever writes it; it is kept and not looked into.

    Raises:
        BundleError: if a field is malformed, or two of them contradict each other.
    """

    net: NetOrigin | None
    class_names: tuple[tuple[str, ...], ...]
    preprocessing: Preprocessing
    input_shape: tuple[int, int, int]
    stages: tuple[StageRecord, ...]
    taxonomy: Taxonomy | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    files: dict[str, FileRecord] = field(default_factory=dict)
    level_selection: LevelSelection | None = None
    task: TaskRecord | None = None
    score: ScoreRecord | None = None
    input: InputRecord | None = None
    thresholds: Thresholds | None = None
    structure: Structure | None = None
    extensions: dict[str, Any] = field(default_factory=dict)
    json_form = replace(IN_BUNDLE, keys=_KEYS)

    def __post_init__(self) -> None:
        with checks.raised_as(BundleError, kinds_too=True):
            levels = checks.several(self.class_names, "class_names")
            object.__setattr__(
                self, "class_names", tuple(checks.all_words(one, "class_names") for one in levels)
            )
            checks.settle(self, "input_shape", checks.shape_of_images)
            checks.settle(self, "stages", checks.several)
            checks.settle(self, "provenance", checks.json_values)
            checks.settle(self, "extensions", checks.json_values)
        for name, kind, example in _KINDS:
            if name not in _OPTIONAL or getattr(self, name) is not None:
                checks.instance(getattr(self, name), kind, name, example)
        for file in self.files.values():
            checks.instance(file, FileRecord, "files", "record_of(DATA)")
        for stage in self.stages:
            checks.instance(stage, StageRecord, "stages", "StageRecord(1, macs=9, full=9, params=9)")
        task = self._told_task()
        score = self.score or ScoreRecord("mean_iou" if task.kind == "segmentation" else "accuracy")
        read = self.input or InputRecord(self.input_shape)
        for name, record in (("task", task), ("score", score), ("input", read)):
            object.__setattr__(self, name, record)
        check_classes(self.class_names, self.taxonomy, None if task.decoding == OWN else self.net)
        check_input(self.input_shape, self.preprocessing, read)
        check_stages(self.stages, self.net, self.thresholds)
        check_levels(self.stages, len(self.class_names), self.level_selection)
        check_task(task, self.class_names)
        for name in self.files:
            check_file_name(name)
        object.__setattr__(self, "files", dict(sorted(self.files.items())))

    @property
    def num_stages(self) -> int:
        """K."""
        return len(self.stages)

    @property
    def task_kind(self) -> str:
        """What is predicted: "classification", "hierarchical", "segmentation", or a task of one's own."""
        assert self.task is not None  # __post_init__ puts one there
        return self.task.kind

    @property
    def mask_classes(self) -> MaskClasses | None:
        """What the label maps mean; None for a net that gives one label an image."""
        return None if self.task is None else self.task.masks

    @property
    def score_in_words(self) -> str:
        """What the validation score of a stage is called."""
        return "accuracy" if self.score is None else self.score.in_words

    @property
    def uncounted_operators(self) -> tuple[str, ...]:
        """Operators that no rule counts, so that the multiply-adds are not complete; empty if they are."""
        return tuple(sorted({name for record in self.stages for name in record.uncounted_operators}))

    @property
    def cost_rules(self) -> dict[str, int | float]:
        """What a person said that operators cost, as far as it was said in numbers: by operator name."""
        told = self.provenance.get("rules")
        rules = told.items() if isinstance(told, dict) else ()
        return {name: cost for name, cost in rules if type(cost) in (int, float) and cost >= 0}

    @property
    def level_accuracies(self) -> tuple[tuple[float, ...], ...] | None:
        """Validation accuracies, one row a stage, fine level first; None if a level was not measured."""
        rows = [
            (record.val_accuracy, *record.coarser_val_accuracies)
            for record in self.stages
            if record.val_accuracy is not None
        ]
        whole_rows = [row for row in rows if len(row) == len(self.class_names)]
        return tuple(whole_rows) if len(whole_rows) == self.num_stages else None

    def best_stage(self, budget_macs: float | None = None) -> tuple[int, bool]:
        """The stage to answer with, and whether even the cheapest exceeds the budget.

        The rule is `core.answers.standing.best_stage`, over the costs of the sub-networks.

        Raises:
            TypeError, ValueError: if the budget is no number, or negative; or the multiply-adds are not
                complete.
        """
        if budget_macs is not None and self.uncounted_operators:
            raise ValueError(
                f"budget_macs cannot be kept: {', '.join(self.uncounted_operators)} of this net "
                "is in no count; say what a call of it costs, 0 if it is free, with "
                "bundle.count_costs(rules={NAME: MULTIPLY_ADDS}), or give a stage"
            )
        budget_macs = checks.number(
            math.inf if budget_macs is None else budget_macs, "budget_macs", 0, infinite=True
        )
        costs, validated = zip(*((record.macs, record.val_accuracy) for record in self.stages), strict=True)
        return best_stage(costs, validated, budget_macs)

    def answering_stage(self, stage: int | None, budget_macs: float | None) -> tuple[int, bool]:
        """The stage that was asked for, or that of `best_stage`; and whether it exceeds the budget.

        Raises:
            TypeError, ValueError: for a stage that does not exist, or both a stage and a budget.
        """
        checks.optional(budget_macs, "budget_macs", checks.number, 0, infinite=True)
        stage = checks.optional(stage, "stage", checks.whole_number, 1, self.num_stages)
        if stage is None:
            return self.best_stage(budget_macs)
        if budget_macs is not None:
            raise ValueError("give stage=K or budget_macs, not both: a stage has its own cost")
        return stage, False

    def keep(self, stages: Sequence[int]) -> Manifest:
        """The manifest of the net with only these stages, renumbered from 1; it lists no files."""
        stages = checks.increasing(stages, "stages", self.num_stages)
        before = (self.net.keep if self.net else None) or tuple(range(1, self.num_stages + 1))
        kept = self.net and replace(self.net, keep=tuple(before[stage - 1] for stage in stages))
        records = tuple(replace(self.stages[stage - 1], stage=i) for i, stage in enumerate(stages, 1))
        selection = self.level_selection and self.level_selection.keep(stages)
        # Thresholds were solved for all stages together, and a structure is one of the whole net.
        return replace(
            self,
            net=kept,
            stages=records,
            files={},
            level_selection=selection,
            thresholds=None,
            structure=None,
        )

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `bundle.json`, its digest included.

        Raises:
            BundleError: for a net built by hand whose structure is not told.
        """
        if self.net is None and self.structure is None:
            raise BundleError(
                "nothing says how this net is built again, nor how it is recognised: use Bundle.save"
            )
        return stamped(super().to_dict())

    @classmethod
    def from_dict(cls, values: Any) -> Manifest:
        """The manifest that `to_dict` gave.

        Raises:
            BundleError: if it is of another format or version, changed since, or malformed.
        """
        value, version = checked(values)
        if (value.get("net", 0) is None) == (value.get("structure", 0) is None):
            raise BundleError(f"net and structure: exactly one of them must be null; {AGAIN}")
        if version < FORMAT_VERSION:
            return from_json(cls, value)
        if None in (value.get("task", 0), value.get("score", 0), value.get("input", 0)):
            raise BundleError(f"task, score and input must be JSON objects, not null; {AGAIN}")
        found = from_json(cls, value)
        if found.task is not None and found.task.kind != value["task"]["kind"]:
            raise BundleError(
                f"task is {value['task']['kind']!r} and class_names tell {found.task.kind!r}: they must agree"
            )
        return found

    @classmethod
    def read(cls, path: Path | str) -> Manifest:
        """The manifest of the bundle at `path`: a bundle's folder, or a run's folder that holds `bundle/`.

        Raises:
            BundleError: if there is none, or it cannot be used.
        """
        file = find_bundle(checks.path(path, "path")) / MANIFEST_NAME
        try:
            return cls.from_dict(read_json(file, LARGEST_JSON))
        except BundleError as error:
            raise BundleError(f"{file}: {error}") from error
        except OSError as error:
            raise BundleError(f"{file} cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise BundleError(f"{file} is not JSON ({error}): {AGAIN}") from error

    def _told_task(self) -> TaskRecord:
        """The task; where it was not given, what provenance and label levels tell of it."""
        if self.task is not None and self.task.decoding == OWN:
            return self.task
        told = self.provenance.get("masks")
        segmentation = self.task is not None and self.task.kind == "segmentation"
        if self.task is not None and segmentation and (self.task.masks is not None or told is None):
            return self.task
        if told is not None:
            return from_json(
                TaskRecord, {"kind": "segmentation", "decoding": "softmax", "masks": told}, "provenance"
            )
        return TaskRecord("hierarchical" if len(self.class_names) > 1 else "classification")

    def write(self, folder: Path) -> None:
        """Writes `bundle.json` into `folder`."""
        write_json(checks.folder(folder, "folder") / MANIFEST_NAME, self.to_dict())


_OPTIONAL = ("net", "taxonomy", "level_selection", "task", "score", "input", "thresholds", "structure")
_KINDS: tuple[tuple[str, type, str], ...] = (
    ("net", NetOrigin, 'NetOrigin("resnet_tiny", {})'),
    ("preprocessing", Preprocessing, "Preprocessing(32, 32, 3, mean, std)"),
    ("taxonomy", Taxonomy, "Taxonomy.from_mapping(names, mapping)"),
    ("files", dict, "{}"),
    ("level_selection", LevelSelection, "LevelSelection((2, 1), (0.8, 0.7), 0.7)"),
    ("task", TaskRecord, 'TaskRecord("classification")'),
    ("score", ScoreRecord, 'ScoreRecord("accuracy")'),
    ("input", InputRecord, "InputRecord((3, 32, 32))"),
    ("thresholds", Thresholds, 'Thresholds("max_probability", (0.9, None))'),
    ("structure", Structure, "that of a saved bundle"),
)
