"""The 1,797 handwritten digits that ship inside scikit-learn."""

from __future__ import annotations

from functools import cache
from types import ModuleType

import numpy as np

from anytimenet.core.errors import require
from anytimenet.data.reading.decoding import decode_all
from anytimenet.data.sets.image_set import ImageSet
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import DataSplits, make_splits


def load_digits(options: DataOptions) -> DataSplits:
    """8x8 grey images of ten digits (UCI optical recognition of handwritten digits, test part).

    The test part is drawn by `options.split_seed` alone: the same images whatever the training seed.

    Raises:
        MissingExtraError: if scikit-learn is not installed.
    """
    pixels, target, class_names = _read(require("sklearn.datasets", "train"))
    names = tuple(f"digit-{i:04d}" for i in range(len(pixels)))
    if options.size is None:
        images = np.repeat(pixels[..., None], options.channels or 1, axis=3)
    else:
        images = decode_all(lambda i: pixels[i], names, options, threads=1).images
    digits = ImageSet(images, target[:, None].astype(np.int64), names)
    return make_splits("digits", {"train": digits}, [list(class_names)], options)


@cache
def _read(datasets: ModuleType) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Pixels, classes and their names, 0.1 MB; read once, for the file is a table of text."""
    digits = datasets.load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return pixels, digits.target, [str(name) for name in digits.target_names]
