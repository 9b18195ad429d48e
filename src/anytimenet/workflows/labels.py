"""Labels of data that a bundle is evaluated on, in the bundle's own classes; refused where they cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import NoReturn, TypeVar

from anytimenet.bundle import Bundle
from anytimenet.core.errors import DataError
from anytimenet.core.labels.mask_classes import IGNORED, MaskClasses
from anytimenet.core.manifest.records import TASKS
from anytimenet.data import DataSplits, Images, MaskSet, relabel

AnyImages = TypeVar("AnyImages", bound=Images | MaskSet)


def labelled_as(bundle: Bundle, images: Images | MaskSet, data: DataSplits) -> Images | MaskSet:
    """Images of `data` with labels by the bundle's classes: matched by name, lifted along its taxonomy.

    Raises:
        DataError: if the bundle lacks one of their classes, or the two have other levels.
    """
    check_kind(bundle, masks=data.mask_classes is not None, what=data.name)
    check_mask_classes(bundle, data.mask_classes, data.name)
    if isinstance(images, MaskSet):
        return images
    ours = bundle.manifest.class_names
    if len(data.class_names) > 1 or (len(ours) > 1 and bundle.manifest.taxonomy is None):
        _check_levels(bundle, data)
        return images
    if len(images):
        names = data.class_names[0]
        if not {names[label] for label in set(images.labels[:, 0].tolist())} <= set(ours[0]):
            _refuse_names(data.name, "", names, ours[0])
        images = relabel(images, names, ours[0], data.name)
        images = lifted(bundle, images)
        check_labels(bundle, images)
    return images


def lifted(bundle: Bundle, images: AnyImages) -> AnyImages:
    """Images with labels on every level of the bundle's taxonomy, where they have fine labels alone."""
    taxonomy = bundle.manifest.taxonomy
    if isinstance(images, MaskSet) or taxonomy is None or images.labels.shape[1] != 1:
        return images
    return replace(images, labels=taxonomy.lift(images.labels[:, 0]))


def check_kind(bundle: Bundle, *, masks: bool, what: str) -> None:
    """Raises DataError for masks where labels are needed, and the other way; a task of one's own knows."""
    kind = bundle.manifest.task_kind
    gives_label_maps = kind == "segmentation"
    if gives_label_maps and not masks:
        raise DataError(
            f"this is a segmentation bundle, and {what} has no masks: evaluate it on images with masks, "
            "camvid:PATH, masks:PATH or a MaskSet"
        )
    if masks and kind in TASKS and not gives_label_maps:
        raise DataError(
            f"this bundle gives one label an image, and {what} has a mask for each: evaluate it on images "
            "with labels, data by name, a dataset of (image, label) or an ImageSet"
        )


def _check_levels(bundle: Bundle, data: DataSplits) -> None:
    theirs, ours = data.class_names, bundle.manifest.class_names
    for level, (given, known) in enumerate(zip(theirs, ours, strict=False), start=1):
        if given != known:
            where = "" if len(theirs) == len(ours) == 1 else f" on level {level}"
            _refuse_names(data.name, where, given, known)
    if len(theirs) != len(ours):
        raise DataError(
            f"{data.name} has labels on {len(theirs)} level(s) and the bundle knows {len(ours)}: load "
            "the data with the levels that the bundle was trained with"
        )
    if len(ours) > 1 and data.taxonomy is not None and bundle.manifest.taxonomy is not None:
        rows = zip(ours[0], data.taxonomy.parents, bundle.manifest.taxonomy.parents, strict=True)
        for name, found_parents, known_parents in rows:
            if found_parents[: len(ours) - 1] != known_parents:
                raise DataError(
                    f"{data.name} and the bundle put {name!r} into different coarser classes: load the data "
                    "with the taxonomy that the bundle was trained with"
                )


def check_mask_classes(bundle: Bundle, classes: MaskClasses | None, what: str) -> None:
    """Raises DataError if masks have other classes than the bundle: a pixel says its class by a number."""
    known = bundle.manifest.mask_classes
    if classes is not None and known is not None and classes.names != known.names:
        _refuse_names(what, "", classes.names, known.names)


def check_masks(bundle: Bundle, images: MaskSet) -> None:
    highest = int(images.masks.max(where=images.masks != IGNORED, initial=0))
    known = bundle.net.num_classes[0]
    if highest >= known:
        raise DataError(
            f"the masks hold class {highest} and the bundle knows {known} classes: give masks of its classes"
        )


def check_labels(bundle: Bundle, images: Images) -> None:
    known = [len(names) for names in bundle.manifest.class_names]
    highest = images.labels.max(axis=0).tolist()
    if len(highest) != len(known) or any(top >= count for top, count in zip(highest, known, strict=True)):
        raise DataError(
            f"the labels have {len(highest)} level(s) with ids up to {highest} and the bundle knows "
            f"{known} classes: give the labels that it was trained with"
        )


def _refuse_names(what: str, where: str, given: Sequence[str], known: Sequence[str]) -> NoReturn:
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(given, known, strict=False)))
    raise DataError(
        f"the classes of {what}{where} are not those that the bundle knows: {_shown(given[same:])} instead "
        f"of {_shown(known[same:])}"
    )


def _shown(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "no more") + more
