"""The images that a bundle is judged on, and the loader that feeds them to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from anytimenet.bundle import Bundle
from anytimenet.core.errors import DataError
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
    load_data,
    make_loader,
    read_dataset,
    same_data,
)

EVALUATION_BATCH = 256
_PIXELS_OF_BATCH = 2**20
"""Of images with masks, whose outputs are as large as they: less than a gigabyte."""


def images_for(
    bundle: Bundle, data: Any, split: str, skip_bad: bool, data_root: Path | str | None = None
) -> tuple[Images, str, str]:
    """Images to judge a bundle on, with the name of the data and of the split.

    Raises:
        DataError: if the data has no name, or other classes than the bundle.
    """
    trained_on = bundle.manifest.provenance.get("data", {})
    taxonomy = bundle.manifest.taxonomy
    nested = (trained_on.get("options") or {}).get("taxonomy") == "nested"
    p = bundle.manifest.preprocessing
    options = DataOptions(
        image_size=(p.height, p.width),
        shorter_side=p.shorter_side,
        channels=p.channels,
        resample=p.resample,
        # Where the bundle has a taxonomy, fine labels are lifted along it, whatever the other data has.
        all_levels=len(bundle.manifest.class_names) > 1 and taxonomy is None,
        taxonomy="nested" if nested and isinstance(data, str) and data.startswith("folder:") else None,
        skip_bad=skip_bad,
    )
    if not (data is None or isinstance(data, str | DataSplits)):
        images = data if isinstance(data, ImageSet | ImageFiles) else read_dataset(data, options)
        if len(images) == 0:
            raise DataError("the data holds no images: give some to judge the bundle on")
        if taxonomy is not None and images.labels.shape[1] == 1:
            images = replace(images, labels=taxonomy.lift(images.labels[:, 0]))
        _check_labels(images, bundle)
        return images, "dataset", "all"
    if not isinstance(data, DataSplits):
        by_name = trained_on.get("options") is not None
        if data is None and not by_name:
            raise DataError("this bundle was trained on data that has no name: give the data to judge it on")
        if by_name and (data is None or same_data(data, trained_on["name"])):
            # Exactly as in training, so that the splits are the same and nothing is decoded again.
            told = DataOptions(**trained_on["options"])
            skip_bad = told.skip_bad or skip_bad
            options = replace(told, skip_bad=skip_bad)
            if split != "train":  # the limits are on training images; the others are read without them sooner
                options = replace(options, limit=None, images_per_class=None)
        options = replace(options, data_root=None if data_root is None else Path(data_root))
        try:
            data = load_data(data or trained_on["name"], options)
        except DataError as error:
            if data is not None:
                raise
            raise DataError(
                f"{error} (the bundle was trained on {trained_on['name']!r}, seen from where training was "
                "started: go there, or name the data)"
            ) from error
    if taxonomy is not None and data.class_names == taxonomy.levels[:1]:
        images = getattr(data, split)
        return replace(images, labels=taxonomy.lift(images.labels[:, 0])), data.name, split
    if data.class_names != bundle.manifest.class_names:
        raise DataError(
            f"the classes of {data.name} are not those that the bundle knows: "
            f"{_shown(data.class_names[0])} instead of {_shown(bundle.manifest.class_names[0])}"
        )
    return getattr(data, split), data.name, split


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
        batch_size=_evaluation_batch(images),
        workers=workers,
        device=device,
        shard=shard or Shard(),
    )


def _evaluation_batch(images: Images | MaskSet) -> int:
    if not isinstance(images, MaskSet):
        return EVALUATION_BATCH
    _, height, width = images.masks.shape
    return max(1, min(EVALUATION_BATCH, _PIXELS_OF_BATCH // (height * width)))


def _check_labels(images: Images, bundle: Bundle) -> None:
    known = [len(names) for names in bundle.manifest.class_names]
    highest = images.labels.max(axis=0).tolist()
    if len(highest) != len(known) or any(top >= count for top, count in zip(highest, known, strict=True)):
        raise DataError(
            f"the labels have {len(highest)} level(s) with ids up to {highest} and the bundle knows "
            f"{known} classes: give the labels that it was trained with"
        )


def _shown(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
