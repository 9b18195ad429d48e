"""Images in memory with a mask each: a class for every pixel."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from anytimenet.core.checks import array, raised_as, settle, texts, whole_numbers
from anytimenet.core.errors import DataError


@dataclass(frozen=True, eq=False, repr=False)
class MaskSet:
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
        with raised_as(DataError):
            array(self.images, "images", "uint8 (N, H, W, C)", (4,), "uint8")
            array(self.masks, "masks", "uint8 (N, H, W), one class a pixel", (3,), "uint8")
            settle(self, "names", texts)
        if self.masks.shape != self.images.shape[:3]:
            raise DataError(
                f"masks must be uint8 {self.images.shape[:3]}, one class a pixel, got {self.masks.shape}"
            )
        if len(self.images) != len(self.names):
            raise DataError(
                f"{len(self.images)} images and {len(self.names)} names: there must be as many of each"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        """How many images of which shape, in one line."""
        height, width, channels = self.images.shape[1:]
        return f"MaskSet({len(self)} images {height}x{width}x{channels} with masks)"

    @property
    def labels(self) -> np.ndarray:
        """The masks, under the name that loaders and augmentations know."""
        return self.masks

    def subset(self, indices: np.ndarray | list[int]) -> MaskSet:
        """The images and masks at `indices`, in that order, with memory of their own."""
        found = whole_numbers(indices, "indices", -len(self), len(self) - 1)
        indices = np.array(found, dtype=np.int64)
        names = tuple(self.names[i] for i in indices)
        return MaskSet(self.images[indices], self.masks[indices], names)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of pixels, masks and names; equal on every machine."""
        digest = hashlib.sha256(f"masks {self.images.shape}".encode())
        digest.update(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.masks).data)
        digest.update("\0".join(self.names).encode(errors="surrogateescape"))
        return digest.hexdigest()
