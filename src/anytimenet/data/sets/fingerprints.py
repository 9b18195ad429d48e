"""A fingerprint of every single image, by which it is known again under another name or in another folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.seen_images import Kind, SeenImages
from anytimenet.data.reading.decoding import available_cores
from anytimenet.data.sets.image_set import ImageFiles, ImageSet, MaskSet
from anytimenet.data.sets.splits import DataSplits

_BLOCK = 2**14
"""Bytes that are read at the beginning, in the middle and at the end of a file larger than four of them."""


def seen_images(splits: DataSplits) -> SeenImages:
    """The fingerprints of all images of all parts.

    Raises:
        DataError: if a file cannot be read.
    """
    kind: Kind = "files" if isinstance(splits.train, ImageFiles) else "pixels"
    parts = (splits.train, splits.val, splits.test)
    return SeenImages(kind, *(image_prints(part, kind, splits.preprocessing) for part in parts))


def image_prints(
    images: ImageSet | ImageFiles | MaskSet, kind: Kind, preprocessing: Preprocessing
) -> np.ndarray:
    """uint64 `(N,)`: of "pixels" equal where all decoded pixels are, of "files" where size and bytes are.

    Of large files some bytes stand for all. Labels and names do not count.

    Raises:
        DataError: if a file cannot be read, or images in memory are asked for prints of files.

    >>> twice = ImageSet(np.zeros((2, 1, 1, 1), np.uint8), np.array([[0], [1]]), ("a", "b"))
    >>> len(set(image_prints(twice, "pixels", None).tolist()))
    1
    """
    if not isinstance(images, ImageFiles):
        if kind == "files":
            raise DataError("images in memory have no files to be known by")
        return np.array([_of_pixels(image) for image in images.images], dtype=np.uint64)
    if kind == "files":
        return _each(images, _of_file)
    return _each(images, lambda path: _of_pixels(preprocessing.decode(path)))


def _each(images: ImageFiles, read: Callable[[Path], int]) -> np.ndarray:
    with ThreadPoolExecutor(available_cores()) as pool:
        found = list(pool.map(read, (images.path(i) for i in range(len(images)))))
    return np.array(found, dtype=np.uint64)


def _of_pixels(image: np.ndarray) -> int:
    digest = hashlib.blake2b(f"{image.shape}".encode(), digest_size=8)
    digest.update(np.ascontiguousarray(image).data)
    return int.from_bytes(digest.digest(), "little")


def _of_file(path: Path) -> int:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            digest = hashlib.blake2b(f"{size}".encode(), digest_size=8)
            starts = (0, (size - _BLOCK) // 2, size - _BLOCK) if size > 4 * _BLOCK else (0,)
            for start in starts:
                file.seek(start)
                digest.update(file.read(_BLOCK if len(starts) > 1 else -1))
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    return int.from_bytes(digest.digest(), "little")
