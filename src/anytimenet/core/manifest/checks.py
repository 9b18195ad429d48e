"""What must hold between the fields of `bundle.json`, whichever file or person they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anytimenet.core.errors import BundleError

if TYPE_CHECKING:
    from anytimenet.core.manifest.manifest import Manifest


def check_agreement(manifest: Manifest) -> None:
    """Raises BundleError, naming the fields, where one is malformed or two contradict each other."""
    _check_classes(manifest)
    _check_input(manifest)
    _check_stages(manifest)
    _check_levels(manifest)
    _check_task(manifest)


def _check_classes(manifest: Manifest) -> None:
    levels = manifest.class_names
    if not levels or any(not names for names in levels):
        raise BundleError("class_names must hold at least one name for each label level")
    if manifest.taxonomy is not None and manifest.taxonomy.levels != levels:
        raise BundleError("taxonomy and class_names disagree: its levels must be class_names")
    built = manifest.net.arguments.get("num_classes") if manifest.net else None
    counts = [len(names) for names in levels]
    if built is not None and built != counts:
        raise BundleError(f"class_names name {counts} classes and the net predicts {built}: they must agree")


def _check_input(manifest: Manifest) -> None:
    preprocessing = manifest.preprocessing
    shape = manifest.input_shape
    made = (preprocessing.channels, preprocessing.height, preprocessing.width)
    if shape != made:
        raise BundleError(
            f"input_shape is {shape} and preprocessing gives (C, H, W) = {made}: they must agree"
        )
    if manifest.input is not None and manifest.input.shape != shape:
        raise BundleError(
            f"input has shape {manifest.input.shape} and input_shape is {shape}: they must agree"
        )


def _check_stages(manifest: Manifest) -> None:
    numbers = [record.stage for record in manifest.stages]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise BundleError(f"stages must be numbered 1, 2, ..., not {numbers}")
    if manifest.net and manifest.net.keep and len(manifest.net.keep) != len(numbers):
        raise BundleError(f"stages holds {len(numbers)} records and net.keep {len(manifest.net.keep)} stages")
    thresholds = manifest.thresholds
    if thresholds is not None and len(thresholds.values) != len(numbers):
        raise BundleError(f"thresholds holds {len(thresholds.values)} values for {len(numbers)} stages")


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


def _check_task(manifest: Manifest) -> None:
    masks = manifest.mask_classes
    if masks is not None and (masks.names,) != manifest.class_names:
        raise BundleError(
            "task: the classes of the masks and class_names disagree: they must be the same names"
        )
