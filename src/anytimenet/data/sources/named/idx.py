"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017) from the published IDX files."""

from __future__ import annotations

import struct

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import DataSplits
from anytimenet.data.sources.named.catalogue import FASHION_MNIST, MNIST, NamedData
from anytimenet.data.sources.named.in_memory import Arrays, split_arrays
from anytimenet.data.sources.named.official import official_files

_CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load_mnist(options: DataOptions) -> DataSplits:
    """60,000 training and 10,000 test images 28x28 of handwritten digits, 5,000 of the former held out.

    Raises:
        DataError: if the files are missing or damaged.
    """
    return _load(MNIST, tuple("0123456789"), options)


def load_fashion_mnist(options: DataOptions) -> DataSplits:
    """60,000 training and 10,000 test images 28x28 of clothes, 5,000 of the former held out.

    Raises:
        DataError: if the files are missing or damaged.
    """
    return _load(FASHION_MNIST, _CLOTHES, options)


def read_idx(content: bytes, where: str) -> np.ndarray:
    """The bytes of an IDX file as a uint8 array: magic number 8, number of axes, sizes, values.

    Raises:
        DataError: if it is another format, or holds more or fewer values than it says.

    >>> read_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 6, 7]), "a file").tolist()
    [5, 6, 7]
    """
    axes = content[3] if len(content) > 3 and content[:3] == b"\0\0\x08" else 0
    start = 4 + 4 * axes
    if not 1 <= axes <= 4 or len(content) < start:
        raise DataError(f"{where} is no IDX file of bytes; get it again")
    shape = struct.unpack(f">{axes}I", content[4:start])
    values = np.frombuffer(content, np.uint8, offset=start)
    if len(values) != np.prod(shape, dtype=object):
        raise DataError(f"{where} holds {len(values)} values instead of {shape}; get it again")
    return values.reshape(shape)


def _load(data: NamedData, class_names: tuple[str, ...], options: DataOptions) -> DataSplits:
    files = official_files(data, options)
    train_images, train_labels, test_images, test_labels = (
        read_idx(files.content[name], files.where(name)) for name in data.forms[0].files
    )
    parts: list[Arrays] = []
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if images.ndim != 3 or labels.shape != images.shape[:1] or not labels.size:
            raise DataError(
                f"{files.origin} holds images {images.shape} with labels {labels.shape}; get the files again"
            )
        if labels.max() >= len(class_names):
            raise DataError(f"{files.origin} has the label {labels.max()}; classes are 0 to 9")
        parts.append((images[..., None], labels))
    if parts[0][0].shape[1:] != parts[1][0].shape[1:]:
        raise DataError(f"{files.origin} has test images of another size; get the files again")
    return split_arrays(data, parts[0], parts[1], class_names, options)
