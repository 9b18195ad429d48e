"""The images that a bundle is evaluated on, and the loader that feeds them to it."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import Any

import torch

from anytimenet.bundle import Bundle
from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import (
    WHOLE,
    DataOptions,
    DataSplits,
    ImageFiles,
    Images,
    ImageSet,
    Loader,
    MaskSet,
    Shard,
    StreamLoader,
    has_masks,
    load_data,
    make_loader,
    read_dataset,
    read_whole,
    reads_whole,
    same_data,
)
from anytimenet.workflows.known_images import held_out, known_from, together
from anytimenet.workflows.labels import (
    check_kind,
    check_labels,
    check_mask_classes,
    check_masks,
    labelled_as,
    lifted,
)
from anytimenet.workflows.reading import Reading
from anytimenet.workflows.trained_data import TrainedOn, data_to_follow, trained_on

_log = logging.getLogger(__name__)
_CHANGED = (
    "%s has changed since the training, and the bundle does not know its single images: the %s part may hold "
    "some that it was trained on"
)
EVALUATION_BATCH = 256
_PIXELS_OF_BATCH = 2**20
"""Of images with masks, whose outputs are as large as they: less than a gigabyte."""


def images_for(reading: Reading, split: str, *, cut: bool = False) -> tuple[Images | MaskSet, str, str]:
    """Images to evaluate a bundle on, with the name of the data and of the split.

    Of a segmentation bundle they come with masks. Fine labels are matched to the bundle's by the names
    of their classes, and lifted along its taxonomy. Images that the bundle was trained on are known again,
    wherever they lie, and left out of "val" and "test"; those that chose its weights are left out of "test".

    Args:
        reading: the bundle and its data.
        split: "train", "val" or "test".
        cut: of a folder that is not cut into parts, cut one as training does; else all of it is "test".

    Raises:
        DataError: if the data has no name, other classes than the bundle, masks where the bundle gives
            one label an image (or none for segmentation), no such part, or none but images that the
            bundle was trained on.
    """
    bundle, data = reading.bundle, reading.data
    if data is None:
        data = data_to_follow(bundle, reading.trust_paths).name
    if isinstance(data, os.PathLike):
        data = f"folder:{os.fspath(data)}"
    if isinstance(data, str):
        return _by_name(reading, data, split, cut)
    if isinstance(data, DataSplits):
        images = labelled_as(bundle, getattr(data, split), data)
        return held_out(bundle, images, split, data.name), data.name, split
    images = _of_dataset(bundle, data, reading.skip_bad)
    return held_out(bundle, images, "train" if split == "train" else "all", "the dataset"), "dataset", "all"


def plain_loader(
    images: Images | MaskSet,
    preprocessing: Preprocessing,
    device: torch.device,
    shard: Shard | None = None,
    workers: int | None = 0,
) -> Loader | StreamLoader:
    """Batches for evaluation: in order, not augmented, the last one smaller."""
    return make_loader(
        images,
        preprocessing,
        batch_size=evaluation_batch(images),
        workers=workers,
        device=device,
        shard=shard or Shard(),
    )


def evaluation_batch(images: Images | MaskSet) -> int:
    """How many images a batch may hold where nothing is learnt: fewer of large ones with masks."""
    if not isinstance(images, MaskSet):
        return EVALUATION_BATCH
    _, height, width = images.masks.shape
    batch: int = _PIXELS_OF_BATCH // (height * width)
    return max(1, min(EVALUATION_BATCH, batch))


def _by_name(reading: Reading, name: str, split: str, cut: bool) -> tuple[Images | MaskSet, str, str]:
    bundle = reading.bundle
    trained = trained_on(bundle.manifest.provenance)
    same, folder = trained.known and same_data(name, trained.name or ""), reads_whole(name)
    if same or (folder and trained.known and bundle.seen is None):
        splits = _as_trained(reading, name, trained, or_none=not same)
        exactly = splits is not None and splits.fingerprint == trained.fingerprint
        if splits is not None and (exactly or (same and (bundle.seen is None or not folder))):
            images = labelled_as(bundle, getattr(splits, split), splits)
            if not exactly:
                images = held_out(bundle, images, split, name)
                if bundle.seen is None and trained.fingerprint is not None and split != "train":
                    _log.warning(_CHANGED, name, split)
            return images, splits.name, split
    options = replace(_options(bundle, reading.skip_bad), data_root=reading.root)
    if folder:
        return _of_folder(bundle, name, options, split, cut)
    splits = load_data(name, options)
    images = labelled_as(bundle, getattr(splits, split), splits)
    return held_out(bundle, images, split, splits.name), splits.name, split


def _as_trained(reading: Reading, name: str, trained: TrainedOn, *, or_none: bool) -> DataSplits | None:
    """Data cut exactly as that of the training was; nothing that was decoded then is decoded again."""
    assert trained.options is not None
    skip_bad = trained.options.skip_bad or reading.skip_bad
    options = replace(trained.options, skip_bad=skip_bad, data_root=reading.root)
    try:
        return load_data(name, options)
    except DataError as error:
        if or_none:
            return None
        if name != trained.name:
            raise
        raise DataError(
            f"{error} (the bundle was trained on {trained.name!r}, seen from where training was started: go "
            "there, or name the data)"
        ) from error


def _of_folder(
    bundle: Bundle, name: str, options: DataOptions, split: str, cut: bool
) -> tuple[Images | MaskSet, str, str]:
    """Images of a folder that need not be the one of the training."""
    check_kind(bundle, masks=has_masks(name), what=name)
    whole = read_whole(name, options, bundle.manifest.class_names)
    check_mask_classes(bundle, whole.mask_classes, name)
    parts = {part: lifted(bundle, images) for part, images in whole.parts.items()}
    uncut = WHOLE in parts
    chosen = parts.get(WHOLE if split == "test" else "") if uncut else parts.get(split)
    if chosen is not None:
        images = held_out(bundle, chosen, split, name)
        return images, name, WHOLE if uncut and len(images) == len(chosen) else split
    known = [known_from(bundle, images, split, name) for images in parts.values()]
    if known := [images for images in known if len(images)]:
        return together(known), name, split
    if uncut and cut:
        splits = load_data(name, options)
        return labelled_as(bundle, getattr(splits, split), splits), name, split
    there = "no parts: all of it is evaluated as split='test'" if uncut else f"{' and '.join(parts)} alone"
    raise DataError(f"{name} has no {split} part, it has {there}; choose another split or data")


def _options(bundle: Bundle, skip_bad: bool) -> DataOptions:
    """How data other than that of the training is brought into the bundle's shape."""
    manifest, p = bundle.manifest, bundle.manifest.preprocessing
    trained = trained_on(manifest.provenance).options if manifest.task_kind == "segmentation" else None
    return DataOptions(
        image_size=(p.height, p.width),
        shorter_side=p.shorter_side,
        channels=p.channels,
        resample=p.resample,
        # Where the bundle has a taxonomy, fine labels are lifted along it, whatever the other data has.
        all_levels=len(manifest.class_names) > 1 and manifest.taxonomy is None,
        skip_bad=skip_bad,
        ignore_index="file" if trained is None else trained.ignore_index,
    )


def _of_dataset(bundle: Bundle, data: Any, skip_bad: bool) -> Images | MaskSet:
    check_kind(bundle, masks=isinstance(data, MaskSet), what="the data")
    known = isinstance(data, ImageSet | ImageFiles | MaskSet)
    if not known:
        names = bundle.manifest.class_names
        images = read_dataset(data, _options(bundle, skip_bad), class_names=names)
    else:
        images = data
    if len(images) == 0:
        raise DataError("the data holds no images: give some to evaluate the bundle on")
    if isinstance(images, MaskSet):
        check_masks(bundle, images)
        return images
    images = lifted(bundle, images)
    check_labels(bundle, images)
    return images
