"""Classes that have training images, and classes that have none: told or refused before a step is made."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.labels.mask_classes import IGNORED, MaskClasses
from anytimenet.data.sets.class_names import shown_names

_log = logging.getLogger(__name__)


def check_taught(
    class_names: Sequence[Sequence[str]], train: np.ndarray, others: Mapping[str, np.ndarray]
) -> None:
    """Warns of classes without an image in a part: nothing teaches them, or nothing evaluates them.

    Args:
        class_names: of each label level.
        train: labels int64 `(N, levels)` of the training part as it is left after every limit.
        others: those of the other parts; one without images is not evaluated at all.
    """
    for level, names in enumerate(class_names):
        where = "" if len(class_names) == 1 else f" on level {level + 1}"
        taught = _counts(train[:, level], len(names)) > 0
        _warn_untaught(names, taught, f"image{where}")
        for part, labels in others.items():
            if len(labels):
                _warn_unevaluated(names, taught & (_counts(labels[:, level], len(names)) == 0), part, where)


def check_taught_pixels(
    classes: MaskClasses, train: np.ndarray, others: Mapping[str, np.ndarray], *, ignored_by_default: bool
) -> None:
    """The same for the pixels of masks uint8 `(N, H, W)`.

    Args:
        ignored_by_default: whether nobody said which value is ignored: then a class without a pixel may be
            what is ignored.

    Raises:
        DataError: if all training pixels are of one class, or a class has none while some are ignored by
            default.
    """
    counts = _pixels(train)
    if not counts[:IGNORED].any():
        raise DataError(
            "every pixel of the training masks is ignored: nothing can be learnt from them; correct the "
            "masks, or say which value is ignored, with ignore_index=None for none"
        )
    taught = counts[: len(classes.names)] > 0
    if ignored_by_default and counts[IGNORED] and not taught.all():
        untaught = [name for name, some in zip(classes.names, taught, strict=True) if not some]
        raise DataError(
            f"no training pixel is {shown_names(untaught)}, and {counts[IGNORED]:,} pixels of value "
            f"{classes.ignore_index} are ignored, as nothing says otherwise: if that value is a class, load "
            "the data with ignore_index=None; if it is to be ignored, with "
            f"ignore_index={classes.ignore_index}, or write it into classes.json"
        )
    if np.count_nonzero(taught) < 2:
        raise DataError(
            f"all training pixels are of the class {classes.names[int(np.argmax(taught))]!r}: add masks of a "
            "second one, or raise the limit on training images"
        )
    _warn_untaught(classes.names, taught, "pixel")
    for part, masks in others.items():
        if len(masks):
            absent = _pixels(masks)[: len(classes.names)] == 0
            _warn_unevaluated(classes.names, taught & absent, part, "")


def _warn_untaught(names: Sequence[str], taught: np.ndarray, what: str) -> None:
    untaught = [name for name, some in zip(names, taught, strict=True) if not some]
    if untaught:
        _log.warning(
            "no training %s is of %d of %d classes, which cannot be learnt: %s",
            what,
            len(untaught),
            len(names),
            shown_names(untaught),
        )


def _warn_unevaluated(names: Sequence[str], absent: np.ndarray, part: str, where: str) -> None:
    lacking = [name for name, missing in zip(names, absent, strict=True) if missing]
    if lacking:
        _log.warning(
            "the %s part%s lacks %d of %d classes, which its scores say nothing about: %s",
            part,
            where,
            len(lacking),
            len(names),
            shown_names(lacking),
        )


def _counts(labels: np.ndarray, classes: int) -> np.ndarray:
    return np.bincount(labels, minlength=classes)


def _pixels(masks: np.ndarray) -> np.ndarray:
    """How many pixels of each value a set of masks has: int64 `(256,)`."""
    counts = np.zeros(256, np.int64)
    for mask in masks:  # one at a time, for bincount makes int64 copies
        counts += np.bincount(mask.reshape(-1), minlength=256)
    return counts
