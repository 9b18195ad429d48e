"""The 1,797 handwritten digits that ship inside scikit-learn."""

from __future__ import annotations

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
    digits = require("sklearn.datasets", "train").load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    labels = digits.target.astype(np.int64)[:, None]
    names = tuple(f"digit-{i:04d}" for i in range(len(pixels)))
    images = decode_all(lambda i: pixels[i], names, options, threads=1).images
    class_names = [str(name) for name in digits.target_names]
    return make_splits("digits", {"train": ImageSet(images, labels, names)}, [class_names], options)
