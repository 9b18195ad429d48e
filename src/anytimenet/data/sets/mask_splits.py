"""Training, validation and test parts of images with masks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.data.sets.channel_statistics import channel_statistics
from anytimenet.data.sets.constants import constants_by_name
from anytimenet.data.sets.dividing import divide
from anytimenet.data.sets.mask_set import MaskSet
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import (
    VAL_FRACTION,
    DataSplits,
    draw,
    limit_rows,
    splits_fingerprint,
)
from anytimenet.data.sets.taught import check_taught_pixels


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
    whole, given = parts["train"], {part: parts[part] for part in ("val", "test") if part in parts}
    left, drawn = np.arange(len(whole)), {}
    if "test" not in given:
        left, drawn["test"] = draw(whole, left, options.test_fraction, options.split_seed, "test")
    if "val" not in given:
        fraction = VAL_FRACTION if options.val_fraction is None else options.val_fraction
        left, drawn["val"] = draw(whole, left, fraction, options.seed, "val")
    train, *others = divide(whole, [limit_rows(whole, left, options.limit, options.seed), *drawn.values()])
    given |= dict(zip(drawn, others, strict=True))
    val, test = given["val"], given["test"]
    judged = {"val": val.masks, "test": test.masks}
    check_taught_pixels(classes, train.masks, judged, ignored_by_default=ignored_by_default)
    _, height, width, channels = train.images.shape
    mean, std = constants_by_name(options, channels) or channel_statistics(train.images)
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
