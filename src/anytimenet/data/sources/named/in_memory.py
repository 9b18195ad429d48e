"""Small images that come as arrays: brought into shape, named by their place, split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.data.reading.cache import decode_once
from anytimenet.data.reading.decoding import decode_all
from anytimenet.data.sets.image_set import ImageSet
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import DataSplits, make_splits
from anytimenet.data.sources.named.catalogue import NamedData

Arrays = tuple[np.ndarray, np.ndarray]
"""Images uint8 `(N, H, W, C)` and fine labels int64 `(N,)`."""


def split_arrays(
    data: NamedData,
    train: Arrays,
    test: Arrays,
    class_names: Sequence[str],
    options: DataOptions,
    taxonomy: Taxonomy | None = None,
) -> DataSplits:
    """Splits of a data set by name; images are called `train-00000`, `test-00000` in the published order.

    Raises:
        DataError: if they cannot be split or shaped as `options` says.
    """
    images = _shaped(data.name, np.concatenate([train[0], test[0]]), options)
    parts = {
        "train": _image_set("train", images[: len(train[0])], train[1]),
        "test": _image_set("test", images[len(train[0]) :], test[1]),
    }
    _, height, width, channels = images.shape
    preprocessing = data.preprocessing(height, width, channels, options)
    return make_splits(
        data.name, parts, [class_names], options, taxonomy=taxonomy, preprocessing=preprocessing
    )


def _image_set(part: str, images: np.ndarray, labels: np.ndarray) -> ImageSet:
    names = tuple(f"{part}-{i:05d}" for i in range(len(labels)))
    return ImageSet(images, labels.astype(np.int64)[:, None], names)


def _shaped(name: str, images: np.ndarray, options: DataOptions) -> np.ndarray:
    """The images in the size and channels of `options`, from the cache where that was done before."""
    _, height, width, channels = images.shape
    same_size = options.image_size in (None, height) and height == width and options.shorter_side is None
    if same_size and channels == 1 and options.channels == 3:
        return np.repeat(images, 3, axis=3)
    if same_size and options.channels in (None, channels):
        return images
    names = [f"image {i} of {name}" for i in range(len(images))]
    pixels = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
    return decode_once(
        name, name, pixels, options, lambda: decode_all(lambda i: images[i], names, options)
    ).images
