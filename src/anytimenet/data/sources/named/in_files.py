"""Large images that stay in files: split by name, streamed by default, or decoded into memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.data.reading.cache import decode_once
from anytimenet.data.reading.decoding import decode_all
from anytimenet.data.sets.image_set import ImageFiles, Images, ImageSet
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import DataSplits, make_splits
from anytimenet.data.sources.image_folders import stamp
from anytimenet.data.sources.named.catalogue import NamedData

_SHORTER_SIDE = 256 / 224  # of what is cropped, as the published evaluations have it


def split_files(
    data: NamedData,
    root: Path,
    parts: Mapping[str, ImageFiles],
    class_names: Sequence[str],
    options: DataOptions,
    taxonomy: Taxonomy | None = None,
) -> DataSplits:
    """Splits of image files under `root`, at `options.image_size` or the size of the data set.

    Raises:
        DataError: if they cannot be split as `options` says, or statistics of images are asked for that
            are not in memory.
    """
    options = _with_sizes(data, options)
    height, width = options.size or (data.image_size, data.image_size)
    preprocessing = data.preprocessing(height, width, options.channels or 3, options)
    if preprocessing is None:
        raise DataError(
            f"{data.name} is standardised by its published constants, which are those of colour images: "
            "leave standardise=... and channels=... as they are"
        )
    if options.skip_bad and not options.in_memory:
        raise DataError(
            "images that are read from files while training runs cannot be left out: remove those that "
            "cannot be read, or give in_memory=True with skip_bad=True"
        )
    read: Mapping[str, Images] = parts
    if options.in_memory:
        # Whole parts, before anything is drawn out of them: seeds and limits change nothing in the cache.
        read = {part: _read(data, part, files, options) for part, files in parts.items()}
    return make_splits(
        f"{data.name}:{root}",
        dict(read),
        [class_names],
        options,
        taxonomy=taxonomy,
        preprocessing=preprocessing,
        skipped=sum(len(parts[part]) - len(images) for part, images in read.items()),
    )


def label_column(labels: Sequence[int]) -> np.ndarray:
    """Fine labels as `ImageFiles` has them: int64 `(N, 1)`."""
    return np.array(labels, dtype=np.int64).reshape(-1, 1)


def _with_sizes(data: NamedData, options: DataOptions) -> DataOptions:
    size = options.size or (data.image_size, data.image_size)
    # Up, so that 256 goes with 224 and no size falls below the crop.
    shorter = options.shorter_side or math.ceil(max(size) * _SHORTER_SIDE)
    return replace(options, image_size=size, shorter_side=shorter, channels=options.channels or 3)


def _read(data: NamedData, part: str, files: ImageFiles, options: DataOptions) -> ImageSet:
    stamps = [(name, *stamp(files.path(i))) for i, name in enumerate(files.names)]
    decoded = decode_once(
        data.name,
        f"{files.root.resolve()} {part}",
        stamps,
        options,
        lambda: decode_all(files.path, [str(files.path(i)) for i in range(len(files))], options),
    )
    left = files.subset(decoded.good)
    return ImageSet(decoded.images, left.labels, left.names)
