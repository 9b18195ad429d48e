"""The images that a bundle is judged on, and the loader that feeds them to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch

from anytimenet.bundle import Bundle
from anytimenet.core.errors import DataError
from anytimenet.core.mask_classes import IGNORED
from anytimenet.core.preprocessing import Preprocessing
from anytimenet.data import (
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
    outer_folders,
    read_dataset,
    same_data,
)

EVALUATION_BATCH = 256
_PIXELS_OF_BATCH = 2**20
"""Of images with masks, whose outputs are as large as they: less than a gigabyte."""


def images_for(
    bundle: Bundle, data: Any, split: str, skip_bad: bool, data_root: Path | str | None = None
) -> tuple[Images | MaskSet, str, str]:
    """Images to judge a bundle on, with the name of the data and of the split.

    Of a bundle that labels pixels they come with masks. Fine labels are lifted along a bundle's taxonomy.

    Raises:
        DataError: if the data has no name, other classes than the bundle, or masks where the bundle gives
            one label an image (or none where it labels pixels).
    """
    if not (data is None or isinstance(data, str | DataSplits)):
        return _of_dataset(bundle, data, skip_bad), "dataset", "all"
    if not isinstance(data, DataSplits):
        data = _load(bundle, data, split, skip_bad, data_root)
    _check_kind(bundle, masks=data.mask_classes is not None, what=data.name)
    taxonomy, images = bundle.manifest.taxonomy, getattr(data, split)
    if taxonomy is not None and data.class_names == taxonomy.levels[:1]:
        return replace(images, labels=taxonomy.lift(images.labels[:, 0])), data.name, split
    _check_classes(bundle, data)
    return images, data.name, split


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
    return max(1, min(EVALUATION_BATCH, _PIXELS_OF_BATCH // (height * width)))


def _options(bundle: Bundle, data: Any, skip_bad: bool) -> DataOptions:
    """How data other than that of the training is brought into the bundle's shape."""
    manifest, p = bundle.manifest, bundle.manifest.preprocessing
    trained = manifest.provenance.get("data", {}).get("options") or {}
    nested = trained.get("taxonomy") == "nested" and isinstance(data, str) and data.startswith("folder:")
    if nested and outer_folders(Path(data.removeprefix("folder:"))) == set(manifest.class_names[0]):
        nested = False  # the class folders lie side by side: their labels are lifted
    return DataOptions(
        image_size=(p.height, p.width),
        shorter_side=p.shorter_side,
        channels=p.channels,
        resample=p.resample,
        # Where the bundle has a taxonomy, fine labels are lifted along it, whatever the other data has.
        all_levels=len(manifest.class_names) > 1 and manifest.taxonomy is None,
        taxonomy="nested" if nested else None,
        skip_bad=skip_bad,
        ignore_index=trained.get("ignore_index", "file")
        if isinstance(data, str) and has_masks(data)
        else "file",
    )


def _of_dataset(bundle: Bundle, data: Any, skip_bad: bool) -> Images | MaskSet:
    _check_kind(bundle, masks=isinstance(data, MaskSet), what="the data")
    known = isinstance(data, ImageSet | ImageFiles | MaskSet)
    if not known:
        names = bundle.manifest.class_names
        images = read_dataset(data, _options(bundle, data, skip_bad), class_names=names)
    else:
        images = data
    if len(images) == 0:
        raise DataError("the data holds no images: give some to judge the bundle on")
    if isinstance(images, MaskSet):
        _check_masks(bundle, images)
        return images
    taxonomy = bundle.manifest.taxonomy
    if taxonomy is not None and images.labels.shape[1] == 1:
        images = replace(images, labels=taxonomy.lift(images.labels[:, 0]))
    _check_labels(images, bundle)
    return images


def _load(
    bundle: Bundle, name: str | None, split: str, skip_bad: bool, data_root: Path | str | None
) -> DataSplits:
    trained_on = bundle.manifest.provenance.get("data", {})
    by_name = trained_on.get("options") is not None
    if name is None and not trained_on and "joined" in bundle.manifest.provenance:
        raise DataError("this bundle is joined, and its members were trained on different data: name one")
    if name is None and not by_name:
        raise DataError("this bundle was trained on data that has no name: give the data to judge it on")
    if by_name and (name is None or same_data(name, trained_on["name"])):
        # Exactly as in training, so that the splits are the same and nothing is decoded again.
        told = DataOptions(**trained_on["options"])
        options = replace(told, skip_bad=told.skip_bad or skip_bad)
        if split != "train":  # the limits are on training images; the others are read without them sooner
            options = replace(options, limit=None, images_per_class=None)
    else:
        options = _options(bundle, name, skip_bad)
    options = replace(options, data_root=None if data_root is None else Path(data_root))
    try:
        return load_data(name or trained_on["name"], options)
    except DataError as error:
        if name is not None:
            raise
        raise DataError(
            f"{error} (the bundle was trained on {trained_on['name']!r}, seen from where training was "
            "started: go there, or name the data)"
        ) from error


def _check_kind(bundle: Bundle, *, masks: bool, what: str) -> None:
    labels_pixels = bundle.manifest.mask_classes is not None
    if labels_pixels and not masks:
        raise DataError(
            f"this bundle labels pixels, and {what} has no masks: judge it on images with masks, "
            "camvid:PATH, masks:PATH or a MaskSet"
        )
    if masks and not labels_pixels:
        raise DataError(
            f"this bundle gives one label an image, and {what} has a mask for each: judge it on images with "
            "labels, data by name, a dataset of (image, label) or an ImageSet"
        )


def _check_classes(bundle: Bundle, data: DataSplits) -> None:
    theirs, ours = data.class_names, bundle.manifest.class_names
    for level, (found, known) in enumerate(zip(theirs, ours, strict=False), start=1):
        if found != known:
            where = "" if len(theirs) == len(ours) == 1 else f" on level {level}"
            same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(found, known, strict=False)))
            raise DataError(
                f"the classes of {data.name}{where} are not those that the bundle knows: "
                f"{_shown(found[same:])} instead of {_shown(known[same:])}"
            )
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


def _check_masks(bundle: Bundle, images: MaskSet) -> None:
    highest = int(images.masks.max(where=images.masks != IGNORED, initial=0))
    known = bundle.net.num_classes[0]
    if highest >= known:
        raise DataError(
            f"the masks hold class {highest} and the bundle knows {known} classes: give masks of its classes"
        )


def _check_labels(images: Images, bundle: Bundle) -> None:
    known = [len(names) for names in bundle.manifest.class_names]
    highest = images.labels.max(axis=0).tolist()
    if len(highest) != len(known) or any(top >= count for top, count in zip(highest, known, strict=True)):
        raise DataError(
            f"the labels have {len(highest)} level(s) with ids up to {highest} and the bundle knows "
            f"{known} classes: give the labels that it was trained with"
        )


def _shown(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "no more") + more
