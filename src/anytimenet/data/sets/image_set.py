"""Images with labels or masks: in memory, or in files that are decoded when they are needed."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self

import numpy as np
from PIL import Image

from anytimenet.core.checks import array, raised_as, settle, texts, whole_numbers
from anytimenet.core.errors import DataError
from anytimenet.core.files.writing import write_bytes


class _InMemory:
    """What sets of decoded images have in common: pixels, a target for each image, names."""

    images: np.ndarray
    names: tuple[str, ...]

    if TYPE_CHECKING:  # a field of `ImageSet`, and of `MaskSet` the masks

        @property
        def labels(self) -> np.ndarray: ...

        def __init__(self, images: np.ndarray, labels: np.ndarray, names: tuple[str, ...], /) -> None: ...

    def _check(self, target: str, what: str, dimensions: int, dtype: str) -> None:
        with raised_as(DataError):
            array(self.images, "images", "uint8 (N, H, W, C)", (4,), "uint8")
            array(getattr(self, target), target, what, (dimensions,), dtype)
            settle(self, "names", texts)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        """How many images of which shape, in one line."""
        height, width, channels = self.images.shape[1:]
        return f"{type(self).__name__}({len(self)} images {height}x{width}x{channels}{self._told})"

    @property
    def _told(self) -> str:
        """What `repr` says of the target."""
        raise NotImplementedError

    def subset(self, indices: np.ndarray | Sequence[int]) -> Self:
        """The images at `indices` with what is known of them, in that order, with memory of their own."""
        rows = _rows(indices, len(self))
        return type(self)(self.images[rows], self.labels[rows], tuple(self.names[i] for i in rows))

    def _digest(self, begin: str, labels: np.ndarray) -> str:
        digest = hashlib.sha256(begin.encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(labels).data)
        digest.update("\0".join(self.names).encode(errors="surrogateescape"))
        return digest.hexdigest()


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet(_InMemory):
    """Decoded images with their labels; never changed once made.

    Attributes:
        images: uint8 `(N, H, W, C)`.
        labels: int64 `(N, levels)`, fine level first.
        names: where each image came from, for messages and fingerprints.

    Raises:
        TypeError: for what are no arrays, or no names.
        DataError: if dtypes, shapes or lengths do not fit.

    >>> images = ImageSet(np.zeros((3, 8, 8, 1), np.uint8), np.array([[0], [1], [0]]), ("a", "b", "c"))
    >>> len(images), images.subset([0, 2]).names
    (3, ('a', 'c'))
    """

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        self._check("labels", "int64 (N, levels)", 2, "int64")
        if not len(self.images) == len(self.labels) == len(self.names):
            raise DataError(
                f"{len(self.images)} images, {len(self.labels)} labels and {len(self.names)} names: "
                "there must be as many of each"
            )

    @property
    def _told(self) -> str:
        return f", {self.labels.shape[1]} label level(s)"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of pixels, labels and names; equal on every machine."""
        return self._digest(f"{self.images.shape} {self.labels.shape}", self.labels.astype("<i8"))


@dataclass(frozen=True, eq=False, repr=False)
class MaskSet(_InMemory):
    """Decoded images with their masks: what `ImageSet` is for semantic segmentation; never changed once made.

    Attributes:
        images: uint8 `(N, H, W, C)`.
        masks: uint8 `(N, H, W)`: classes from 0 on, `core.mask_classes.IGNORED` where a pixel does not count.
        names: where each image came from, for messages and fingerprints.

    Raises:
        TypeError: for what are no arrays, or no names.
        DataError: if dtypes, shapes or lengths do not fit.

    >>> pictures, masks = np.zeros((2, 4, 6, 3), np.uint8), np.zeros((2, 4, 6), np.uint8)
    >>> MaskSet(pictures, masks, ("a", "b")).subset([1]).names
    ('b',)
    """

    images: np.ndarray
    masks: np.ndarray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        self._check("masks", "uint8 (N, H, W), one class a pixel", 3, "uint8")
        if self.masks.shape != self.images.shape[:3]:
            raise DataError(
                f"masks must be uint8 {self.images.shape[:3]}, one class a pixel, got {self.masks.shape}"
            )
        if len(self.images) != len(self.names):
            raise DataError(
                f"{len(self.images)} images and {len(self.names)} names: there must be as many of each"
            )

    @property
    def labels(self) -> np.ndarray:
        """The masks, under the name that loaders and augmentations know."""
        return self.masks

    @property
    def _told(self) -> str:
        return " with masks"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of pixels, masks and names; equal on every machine."""
        return self._digest(f"masks {self.images.shape}", self.masks)


@dataclass(frozen=True, eq=False, repr=False)
class ImageFiles:
    """Image files with their labels: what `ImageSet` is for images that do not fit into memory.

    Attributes:
        root: folder of the files.
        labels: int64 `(N, levels)`, fine level first.
        names: path of each file relative to `root`, with forward slashes.

    Raises:
        DataError: if a dtype, shape or length does not fit, or a name leaves the folder.

    >>> files = ImageFiles(Path("photos"), np.array([[0], [1]]), ("cat/1.jpg", "dog/1.jpg"))
    >>> len(files), files.subset([1]).names, files.path(0).as_posix()
    (2, ('dog/1.jpg',), 'photos/cat/1.jpg')
    """

    root: Path
    labels: np.ndarray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))
        object.__setattr__(self, "names", tuple(self.names))
        if self.labels.ndim != 2 or self.labels.dtype != np.int64:
            raise DataError(f"labels must be int64 (N, levels), got {self.labels.dtype} {self.labels.shape}")
        if len(self.labels) != len(self.names):
            raise DataError(
                f"{len(self.labels)} labels and {len(self.names)} names: there must be as many of each"
            )
        for name in self.names:
            if not name or name.startswith("/") or (".." in name and ".." in PurePosixPath(name).parts):
                raise DataError(f"{name!r} is not a path inside {self.root}: give names relative to it")

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        """How many files and where, in one line."""
        return f"ImageFiles({len(self)} files in {str(self.root)!r}, {self.labels.shape[1]} label level(s))"

    def path(self, index: int) -> Path:
        """Where the file at `index` lies."""
        return self.root / self.names[index]

    def subset(self, indices: np.ndarray | Sequence[int]) -> Self:
        """The files at `indices`, in that order."""
        rows = _rows(indices, len(self))
        return replace(self, labels=self.labels[rows], names=tuple(self.names[i] for i in rows))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of names, labels and file sizes; the pixels are not read, and the root may be moved.

        Raises:
            DataError: if a file is not there.
        """
        digest = hashlib.sha256(f"files {self.labels.shape}".encode())
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        digest.update("\0".join(self.names).encode(errors="surrogateescape"))
        digest.update(np.array([self._size(i) for i in range(len(self))], dtype="<i8").data)
        return digest.hexdigest()

    def _size(self, index: int) -> int:
        try:
            # A million files: pathlib would take most of the time.
            return os.stat(f"{self.root}/{self.names[index]}").st_size
        except OSError as error:
            raise DataError(f"{self.path(index)} cannot be read ({error.strerror})") from error


Images = ImageSet | ImageFiles
"""Images with labels."""
AnyImages = ImageSet | ImageFiles | MaskSet
"""The same, or images with masks."""


def save_png(images: ImageSet, index: int, path: Path | str, *, enlarge: int = 1) -> None:
    """Writes one image as a PNG file, atomically; `Preprocessing.decode` gives back the same pixels.

    With `enlarge` every pixel becomes a square of so many, for people to see; resampling "box" gives back the
    same pixels.

    >>> save_png(digits.test, 0, "runs/seven.png")      # doctest: +SKIP
    """
    pixels = images.images[index].repeat(enlarge, axis=0).repeat(enlarge, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())


def _rows(indices: np.ndarray | Sequence[int], count: int) -> np.ndarray:
    listed = isinstance(indices, np.ndarray) and indices.ndim == 1 and indices.dtype.kind in "iu"
    if listed and (not len(indices) or -count <= np.min(indices) <= np.max(indices) < count):
        return np.asarray(indices, dtype=np.int64)
    return np.array(whole_numbers(indices, "indices", -count, count - 1), dtype=np.int64)
