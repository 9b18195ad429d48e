"""What must hold between the fields of `bundle.json`, whichever file or person they come from.

Each check raises BundleError, naming the fields, where one is malformed or two contradict each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from anytimenet.core.answers.level_selection import LevelSelection
from anytimenet.core.errors import BundleError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.core.manifest.records import InputRecord, NetOrigin, StageRecord, TaskRecord, Thresholds

ClassNames = tuple[tuple[str, ...], ...]
"""Of each label level, fine level first."""


def check_classes(levels: ClassNames, taxonomy: Taxonomy | None, net: NetOrigin | None) -> None:
    """Classes are named on every level, as the taxonomy names them, and as many as the net predicts."""
    if not levels or any(not names for names in levels):
        raise BundleError("class_names must hold at least one name for each label level")
    if taxonomy is not None and taxonomy.levels != levels:
        raise BundleError("taxonomy and class_names disagree: its levels must be class_names")
    built = net.arguments.get("num_classes") if net else None
    counts = [len(names) for names in levels]
    if built is not None and built != counts:
        raise BundleError(f"class_names name {counts} classes and the net predicts {built}: they must agree")


def check_task(task: TaskRecord, levels: ClassNames) -> None:
    """Label maps have the classes that are named."""
    if task.masks is not None and (task.masks.names,) != levels:
        raise BundleError(
            "task: the classes of the masks and class_names disagree: they must be the same names"
        )


def check_input(shape: tuple[int, ...], preprocessing: Preprocessing, read: InputRecord) -> None:
    """The net reads the shape that the preprocessing makes."""
    made = (preprocessing.channels, preprocessing.height, preprocessing.width)
    if shape != made:
        raise BundleError(
            f"input_shape is {shape} and preprocessing gives (C, H, W) = {made}: they must agree"
        )
    if read.shape != shape:
        raise BundleError(f"input has shape {read.shape} and input_shape is {shape}: they must agree")


def check_stages(stages: Sequence[StageRecord], net: NetOrigin | None, thresholds: Thresholds | None) -> None:
    """Stages are numbered, and as many as were kept and as there are thresholds."""
    numbers = [record.stage for record in stages]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise BundleError(f"stages must be numbered 1, 2, ..., not {numbers}")
    if net and net.keep and len(net.keep) != len(numbers):
        raise BundleError(f"stages holds {len(numbers)} records and net.keep {len(net.keep)} stages")
    if thresholds is not None and len(thresholds.values) != len(numbers):
        raise BundleError(f"thresholds holds {len(thresholds.values)} values for {len(numbers)} stages")


def check_levels(stages: Sequence[StageRecord], levels: int, selection: LevelSelection | None) -> None:
    """Accuracies and the selection are of the label levels that there are."""
    coarser = levels - 1
    for record in stages:
        if len(record.coarser_val_accuracies) not in (0, coarser):
            raise BundleError(
                f"stage {record.stage} has validation accuracies of {len(record.coarser_val_accuracies)} "
                f"coarser label levels, and there are {coarser}: they must agree"
            )
    if selection is None:
        return
    if len(selection.levels) != len(stages) or max(selection.levels) > levels:
        raise BundleError(
            f"level_selection has the levels {selection.levels}: {len(stages)} are needed, each from 1 to "
            f"{levels}"
        )
