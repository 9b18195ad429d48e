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
    Shard,
    StreamLoader,
    load_data,
    make_loader,
    read_dataset,
    same_data,
)

EVALUATION_BATCH = 256


def images_for(
    bundle: Bundle, data: Any, split: str, skip_bad: bool, data_root: Path | str | None = None
) -> tuple[Images, str, str]:
    """Images to judge a bundle on, with the name of the data and of the split.

    Raises:
        DataError: if the data has no name, or other classes than the bundle.
    """
    trained_on = bundle.manifest.provenance.get("data", {})
    p = bundle.manifest.preprocessing
    options = DataOptions(
        image_size=p.height if p.height == p.width else None,
        shorter_side=p.shorter_side if p.height == p.width else None,
        channels=p.channels,
        resample=p.resample,
        all_levels=len(bundle.manifest.class_names) > 1,
        skip_bad=skip_bad,
    )
    if not (data is None or isinstance(data, str | DataSplits)):
        images = data if isinstance(data, ImageSet | ImageFiles) else read_dataset(data, options)
        if len(images) == 0:
            raise DataError("the data holds no images: give some to judge the bundle on")
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
    if data.class_names != bundle.manifest.class_names:
        raise DataError(
            f"the classes of {data.name} are not those that the bundle knows: "
            f"{_shown(data.class_names[0])} instead of {_shown(bundle.manifest.class_names[0])}"
        )
    return getattr(data, split), data.name, split


def plain_loader(
    images: Images,
    preprocessing: Preprocessing,
    device: torch.device,
    shard: Shard | None = None,
    workers: int | None = 0,
) -> Loader | StreamLoader:
    """Batches for evaluation: in order, not augmented, the last one smaller."""
    return make_loader(
        images,
        preprocessing,
        batch_size=EVALUATION_BATCH,
        workers=workers,
        device=device,
        shard=shard or Shard(),
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
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
