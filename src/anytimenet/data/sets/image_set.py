"""Labelled images in memory."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from anytimenet.core.checks import array, raised_as, settle, texts
from anytimenet.core.errors import DataError
from anytimenet.core.files.writing import write_bytes


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
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
        with raised_as(DataError):
            array(self.images, "images", "uint8 (N, H, W, C)", (4,), "uint8")
            array(self.labels, "labels", "int64 (N, levels)", (2,), "int64")
            settle(self, "names", texts)
        if not len(self.images) == len(self.labels) == len(self.names):
            raise DataError(
                f"{len(self.images)} images, {len(self.labels)} labels and {len(self.names)} names: "
                "there must be as many of each"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        """How many images of which shape, in one line."""
        height, width, channels = self.images.shape[1:]
        return (
            f"ImageSet({len(self)} images {height}x{width}x{channels}, {self.labels.shape[1]} label level(s))"
        )

    def subset(self, indices: np.ndarray | list[int]) -> ImageSet:
        """The images at `indices`, in that order, with memory of their own."""
        indices = np.asarray(indices, dtype=np.int64)
        names = tuple(self.names[i] for i in indices)
        return ImageSet(self.images[indices], self.labels[indices], names)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of pixels, labels and names; equal on every machine."""
        digest = hashlib.sha256(f"{self.images.shape} {self.labels.shape}".encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        digest.update("\0".join(self.names).encode(errors="surrogateescape"))
        return digest.hexdigest()


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
