"""Training, validation and test parts of images with masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anytimenet.core.mask_classes import MaskClasses
from anytimenet.core.preprocessing import Preprocessing
from anytimenet.data.mask_set import MaskSet
from anytimenet.data.options import DataOptions
from anytimenet.data.splits import VAL_FRACTION, DataSplits, channel_statistics, splits_fingerprint
from anytimenet.data.stratify import draw_limit, draw_part
from anytimenet.data.taught import check_taught_pixels


def make_mask_splits(
    name: str,
    parts: Mapping[str, MaskSet],
    classes: MaskClasses,
    options: DataOptions,
    *,
    skipped: int = 0,
    ignored_by_default: bool = False,
) -> DataSplits:
    """Splits of `parts`, which holds `train` and perhaps `val` and `test`; the rest comes out of `train`.

    An image has many classes, so parts are drawn by a hash of the names and by no class: the test part with
    `options.split_seed`, then the validation part with `options.seed`, and last what `options.limit` keeps.

    Raises:
        DataError: if there are too few images, or the training masks cannot teach the classes; see
            `taught.check_taught_pixels`.
    """
    train, val, test = parts["train"], parts.get("val"), parts.get("test")
    if test is None:
        train, test = _cut(train, options.test_fraction, options.split_seed, "test")
    if val is None:
        fraction = VAL_FRACTION if options.val_fraction is None else options.val_fraction
        train, val = _cut(train, fraction, options.seed, "val")
    if options.limit is not None and options.limit < len(train):
        kept = draw_limit(_one_class(train), train.names, options.limit, options.seed)
        train = train.subset(np.flatnonzero(kept))
    others = {"val": val.masks, "test": test.masks}
    check_taught_pixels(classes, train.masks, others, ignored_by_default=ignored_by_default)
    _, height, width, channels = train.images.shape
    mean, std = channel_statistics(train.images)
    preprocessing = Preprocessing(height, width, channels, mean, std, options.resample, options.shorter_side)
    return DataSplits(
        name,
        train,
        val,
        test,
        class_names=(classes.names,),
        taxonomy=None,
        preprocessing=preprocessing,
        fingerprint=splits_fingerprint((classes.names,), preprocessing, (train, val, test)),
        skipped=skipped,
        mask_classes=classes,
    )


def _cut(images: MaskSet, fraction: float, seed: int, purpose: str) -> tuple[MaskSet, MaskSet]:
    if not fraction:
        return images, images.subset([])
    drawn = draw_part(_one_class(images), images.names, fraction, seed, purpose)
    return images.subset(np.flatnonzero(~drawn)), images.subset(np.flatnonzero(drawn))


def _one_class(images: MaskSet) -> np.ndarray:
    """Labels for the draw: it keeps the shares of classes, and here all images are of one."""
    return np.zeros(len(images), dtype=np.int64)
