"""What `bundle.json` says of a saved net; readable without torch and without the training code."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from anytimenet.core.bundle_folder import (
    AGAIN,
    FORMAT,
    MANIFEST_NAME,
    FileRecord,
    check_file_name,
    find_bundle,
)
from anytimenet.core.checks import instance, number, whole_numbers
from anytimenet.core.errors import BundleError
from anytimenet.core.files import sha256, write_json
from anytimenet.core.level_selection import LevelSelection
from anytimenet.core.manifest_fields import json_list, json_object, keys, text, whole
from anytimenet.core.mask_classes import MaskClasses
from anytimenet.core.net_origin import NetOrigin
from anytimenet.core.preprocessing import Preprocessing
from anytimenet.core.stage_record import StageRecord
from anytimenet.core.taxonomy import Taxonomy

FORMAT_VERSION = 2
"""The newest that this package reads. Since 2 a bundle may tell of its coarser label levels."""


@dataclass(frozen=True)
class Manifest:
    """The content of `bundle.json`.

    Attributes:
        net: how the net is built again; None for a net built by hand, which cannot be saved.
        class_names: names of each label level, fine level first.
        preprocessing: from an image to the net's input.
        input_shape: (C, H, W).
        stages: one record a stage, 1..K.
        taxonomy: how the label levels hang together; None if there is one level.
        provenance: a free JSON object: recipe, data name and fingerprint, versions, seed, ...
        files: the other files of the folder, by their path in it.
        level_selection: the label level that each stage answers with; None for the fine level.

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

    def __post_init__(self) -> None:
        names = tuple(
            tuple(json_list(level, "class_names")) for level in json_list(self.class_names, "class_names")
        )
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "input_shape", tuple(json_list(self.input_shape, "input_shape")))
        object.__setattr__(self, "stages", tuple(json_list(self.stages, "stages")))
        object.__setattr__(self, "provenance", json_object(self.provenance, "provenance"))
        for name, kind, example in _KINDS:
            if name not in _OPTIONAL or getattr(self, name) is not None:
                instance(getattr(self, name), kind, name, example)
        for record in self.stages:
            instance(record, StageRecord, "stages", "StageRecord(1, macs=9, full=9, params=9)")
        _check_classes(self)
        _check_input(self)
        _check_stages(self)
        _check_levels(self)
        for name in self.files:
            check_file_name(name)

    @property
    def num_stages(self) -> int:
        """K."""
        return len(self.stages)

    @property
    def format_version(self) -> int:
        """The oldest format version that holds all of this, so that older readers read what they can."""
        coarser = any(record.coarser_val_accuracies for record in self.stages)
        return 2 if coarser or self.level_selection is not None else 1

    @property
    def mask_classes(self) -> MaskClasses | None:
        """What the label maps mean; None for a net that gives one label an image.

        Raises:
            DataError: if the provenance tells it in another form.
        """
        told = self.provenance.get("masks")
        return None if told is None else MaskClasses.from_dict(told)

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
        """The stage to answer with, and whether even stage 1 exceeds the budget.

        Among the stages whose sub-network fits, the one with the best validation accuracy (of equal ones
        the cheapest); the last of them if none was validated; stage 1 if none fits.

        Raises:
            TypeError, ValueError: if the budget is no number, or negative.
        """
        budget_macs = number(
            math.inf if budget_macs is None else budget_macs, "budget_macs", 0, infinite=True
        )
        fitting = [record for record in self.stages if record.macs <= budget_macs]
        if not fitting:
            return 1, True
        ranked = [(-r.val_accuracy, r.macs, r.stage) for r in fitting if r.val_accuracy is not None]
        return (min(ranked)[2] if ranked else fitting[-1].stage), False

    def keep(self, stages: Sequence[int]) -> Manifest:
        """The manifest of the net with only these stages, renumbered from 1; it lists no files."""
        stages = whole_numbers(stages, "stages", 1, self.num_stages)
        before = (self.net.keep if self.net else None) or tuple(range(1, self.num_stages + 1))
        kept = self.net and replace(self.net, keep=tuple(before[stage - 1] for stage in stages))
        records = tuple(replace(self.stages[stage - 1], stage=i) for i, stage in enumerate(stages, 1))
        selection = self.level_selection and self.level_selection.keep(stages)
        return replace(self, net=kept, stages=records, files={}, level_selection=selection)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of `bundle.json`, its digest included.

        Raises:
            BundleError: for a net built by hand.
        """
        if self.net is None:
            raise BundleError(
                "a net built by hand cannot be saved, for nothing says how to build it again: register its "
                "builder with register_net and build it with create_net"
            )
        value = {
            "format": FORMAT,
            "format_version": self.format_version,
            "net": _net_to_dict(self.net),
            "class_names": self.class_names,
            "taxonomy": self.taxonomy and self.taxonomy.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
            "input_shape": self.input_shape,
            "stages": [record.to_dict() for record in self.stages],
            "provenance": self.provenance,
            "files": {name: asdict(record) for name, record in sorted(self.files.items())},
        }
        if self.level_selection is not None:
            value["level_selection"] = self.level_selection.to_dict()
        value = json.loads(json.dumps(value, allow_nan=False))
        return {**value, "digest": _digest(value)}

    @classmethod
    def from_dict(cls, value: Any) -> Manifest:
        """The manifest that `to_dict` gave.

        Raises:
            BundleError: if it is of another format or version, changed since, or malformed.
        """
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise BundleError(f'not written by anytimenet ("format" is not "{FORMAT}"); give another folder')
        _check_version(value.get("format_version"))
        if value.get("digest") != _digest(value):
            raise BundleError(f"its digest does not match: it was changed or damaged; {AGAIN}")
        keys(value, "the object", _FIELDS, optional=("level_selection",))
        taxonomy, selection = value["taxonomy"], value.get("level_selection")
        return cls(
            net=_net(value["net"]),
            class_names=value["class_names"],
            preprocessing=_convert(Preprocessing.from_dict, value["preprocessing"], "preprocessing"),
            input_shape=value["input_shape"],
            stages=tuple(StageRecord.from_dict(record) for record in json_list(value["stages"], "stages")),
            taxonomy=None if taxonomy is None else _convert(Taxonomy.from_dict, taxonomy, "taxonomy"),
            provenance=value["provenance"],
            files={
                name: FileRecord(**keys(record, f"files: {name}", ("sha256", "bytes")))
                for name, record in json_object(value["files"], "files").items()
            },
            level_selection=None
            if selection is None
            else _convert(LevelSelection.from_dict, selection, "level_selection"),
        )

    @classmethod
    def read(cls, path: Path | str) -> Manifest:
        """The manifest of the bundle at `path`: a bundle's folder, or a run's folder that holds `bundle/`.

        Raises:
            BundleError: if there is none, or it cannot be used.
        """
        file = find_bundle(path) / MANIFEST_NAME
        try:
            return cls.from_dict(json.loads(file.read_bytes()))
        except BundleError as error:
            raise BundleError(f"{file}: {error}") from error
        except OSError as error:
            raise BundleError(f"{file} cannot be read: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{file} is not JSON ({error}): {AGAIN}") from error

    def write(self, folder: Path) -> None:
        """Writes `bundle.json` into `folder`."""
        write_json(folder / MANIFEST_NAME, self.to_dict())


_FIELDS = (
    *("format", "format_version", "digest", "net", "class_names", "taxonomy", "preprocessing"),
    *("input_shape", "stages", "provenance", "files"),
)
_Made = TypeVar("_Made")
_OPTIONAL = ("net", "taxonomy", "level_selection")
_KINDS: tuple[tuple[str, type, str], ...] = (
    ("net", NetOrigin, 'NetOrigin("resnet_tiny", {})'),
    ("preprocessing", Preprocessing, "Preprocessing(32, 32, 3, mean, std)"),
    ("taxonomy", Taxonomy, "Taxonomy.from_mapping(names, mapping)"),
    ("files", dict, "{}"),
    ("level_selection", LevelSelection, "LevelSelection((2, 1), (0.8, 0.7), 0.7)"),
)


def _digest(value: dict[str, Any]) -> str:
    """SHA-256 of the object without its digest: keys sorted, no spaces, ASCII."""
    rest = {key: item for key, item in value.items() if key != "digest"}
    return sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode())


def _check_version(version: Any) -> None:
    whole(version, "format_version", 1)
    if version > FORMAT_VERSION:
        raise BundleError(
            f"format version {version} was made by a newer anytimenet, this one reads up to "
            f"{FORMAT_VERSION}: upgrade anytimenet"
        )


def _check_classes(manifest: Manifest) -> None:
    levels = manifest.class_names
    if not levels or any(not names for names in levels):
        raise BundleError("class_names must hold at least one name for each label level")
    for names in levels:
        for name in names:
            text(name, "class_names")
    if manifest.taxonomy is not None and manifest.taxonomy.levels != levels:
        raise BundleError("taxonomy and class_names disagree: its levels must be class_names")
    built = manifest.net.arguments.get("num_classes") if manifest.net else None
    counts = [len(names) for names in levels]
    if built is not None and built != counts:
        raise BundleError(f"class_names name {counts} classes and the net predicts {built}: they must agree")


def _check_input(manifest: Manifest) -> None:
    preprocessing = manifest.preprocessing
    shape = tuple(whole(size, "input_shape", 1) for size in manifest.input_shape)
    made = (preprocessing.channels, preprocessing.height, preprocessing.width)
    if shape != made:
        raise BundleError(
            f"input_shape is {shape} and preprocessing gives (C, H, W) = {made}: they must agree"
        )


def _check_stages(manifest: Manifest) -> None:
    numbers = [record.stage for record in manifest.stages]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise BundleError(f"stages must be numbered 1, 2, ..., not {numbers}")
    if manifest.net and manifest.net.keep and len(manifest.net.keep) != len(numbers):
        raise BundleError(f"stages holds {len(numbers)} records and net.keep {len(manifest.net.keep)} stages")


def _check_levels(manifest: Manifest) -> None:
    coarser, selection = len(manifest.class_names) - 1, manifest.level_selection
    for record in manifest.stages:
        if len(record.coarser_val_accuracies) not in (0, coarser):
            raise BundleError(
                f"stage {record.stage} has validation accuracies of {len(record.coarser_val_accuracies)} "
                f"coarser label levels, and there are {coarser}: they must agree"
            )
    if selection is None:
        return
    if len(selection.levels) != manifest.num_stages or max(selection.levels) > coarser + 1:
        raise BundleError(
            f"level_selection has the levels {selection.levels}: {manifest.num_stages} are needed, each from "
            f"1 to {coarser + 1}"
        )


def _net(value: Any) -> NetOrigin:
    net = keys(value, "net", ("name", "arguments", "keep"), optional=("form",))
    keep = net["keep"] if net["keep"] is None else tuple(json_list(net["keep"], "net.keep"))
    return NetOrigin(net["name"], net["arguments"], keep, net.get("form", 1))


def _net_to_dict(net: NetOrigin) -> dict[str, Any]:
    value = asdict(net)
    if net.form == 1:
        del value["form"]
    return value


def _convert(make: Callable[[Any], _Made], value: Any, where: str) -> _Made:
    try:
        return make(value)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError(f"{where} cannot be used: {error!r}; {AGAIN}") from error
