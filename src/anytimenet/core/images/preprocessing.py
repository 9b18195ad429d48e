"""From an image file to the numbers that a net reads: decode, fit, standardise. Without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from anytimenet.core import checks
from anytimenet.core.errors import DataError
from anytimenet.core.images.decoding import (
    RESAMPLE,
    ImageLike,
    as_array,
    fit,
    open_image,
    with_channels,
)
from anytimenet.core.records import JsonForm, Record, stored


@dataclass(frozen=True)
class Preprocessing(Record):
    """How an image becomes a net's input, the same in training, evaluation and deployment.

    Attributes:
        height, width: size of the input in pixels.
        channels: 1 (grey) or 3 (RGB).
        mean, std: one number per channel, of values scaled to 0..1.
        resample: name of the filter that resizes, one of `images.RESAMPLE`.
        shorter_side: what the shorter side is resized to before the centre is cropped, for example 256 for
            an input of 224 x 224; None resizes as little as covers the input.

    Raises:
        TypeError: for a field of another kind.
        DataError: for a size below 1, other channels, a mean or std that does not fit them or makes numbers
            that float32 does not have, an unknown filter, or a shorter side that does not cover the input.

    >>> preprocessing = Preprocessing(2, 2, 1, mean=(0.5,), std=(0.5,), resample="box")
    >>> pixels = preprocessing.decode(np.array([[0, 0, 255, 255]] * 4, dtype=np.uint8))
    >>> pixels.shape, pixels[0, :, 0].tolist()
    ((2, 2, 1), [0, 255])
    >>> preprocessing.standardise(pixels[None])[0, 0, 0].tolist()
    [-1.0, 1.0]
    """

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: str = field(default="bilinear", metadata=stored(later=True))
    shorter_side: int | None = field(default=None, metadata=stored(brief=True))
    json_form = JsonForm(DataError, "preprocessing", strict=True)

    def __post_init__(self) -> None:
        with checks.raised_as(DataError):
            checks.settle(self, "height", checks.whole_number, 1, checks.MOST_SIDE)
            checks.settle(self, "width", checks.whole_number, 1, checks.MOST_SIDE)
            checks.settle(self, "channels", checks.one_of, (1, 3))
            checks.settle(self, "resample", checks.choice, RESAMPLE)
            checks.settle(self, "mean", checks.numbers)
            checks.settle(self, "std", checks.numbers, above=0)
            checks.settle(self, "shorter_side", checks.optional, checks.whole_number, 1, checks.MOST_SIDE)
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise DataError(
                f"mean and std need one number for each of {self.channels} channels, "
                f"got {len(self.mean)} and {len(self.std)}"
            )
        self._check_finite()
        if self.shorter_side is not None and self.shorter_side < max(self.height, self.width):
            raise DataError(
                f"shorter_side must be a whole number of pixels that covers the {self.height}x{self.width} "
                f"input, got {self.shorter_side!r}"
            )

    def _check_finite(self) -> None:
        """Black and white become numbers, and so does what is between: a std may be too small for that."""
        for mean, std in zip(self.mean, self.std, strict=True):
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                scale, shift = _scale_and_shift(np.array([mean]), np.array([std]))
                ends = np.array([0, 255], np.float32) * scale - shift
            if not np.isfinite(ends).all():
                raise DataError(
                    f"mean {mean} and std {std} make numbers that float32 does not have: give those of "
                    "values scaled to 0..1"
                )

    def decode(self, image: ImageLike) -> np.ndarray:
        """The image upright, its shorter side resized and its centre cropped: uint8 `(H, W, C)`.

        Grey, RGB, palette, 16-bit and EXIF-rotated images come out right; transparency is laid over
        white. Without `shorter_side` an image that already has the size keeps its pixels.

        Raises:
            DataError: if the file cannot be read or the array is not a uint8 image.
        """
        opened = with_channels(open_image(image), self.channels)
        return as_array(fit(opened, self.height, self.width, self.resample, self.shorter_side))

    def standardise(self, images: np.ndarray) -> np.ndarray:
        """`(value / 255 - mean) / std` of uint8 `(N, H, W, C)`, as float32 `(N, C, H, W)`.

        The result is a view of channels-last memory, which `torch.from_numpy` takes without a copy.

        Raises:
            DataError: for another dtype or shape.
        """
        checks.instance(images, np.ndarray, "images", "what decode returns, stacked")
        expected = (self.height, self.width, self.channels)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != expected:
            raise DataError(
                f"standardise reads uint8 images of shape (N, {self.height}, {self.width}, {self.channels}), "
                f"got {images.dtype} of shape {images.shape}; decode the images first"
            )
        scale, shift = self.scale_and_shift_rows
        values = images.reshape(len(images), scale.size).astype(np.float32)
        values *= scale
        values -= shift
        return values.reshape(images.shape).transpose(0, 3, 1, 2)

    @cached_property
    def scale_and_shift_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """float32 `(H * W * C,)` each: an image flattened from `(H, W, C)` becomes `image * scale - shift`.

        Whole images as rows: broadcasting over a last axis of 3 channels would be several times slower.
        """
        mean, std = np.asarray(self.mean), np.asarray(self.std)
        scale, shift = _scale_and_shift(mean, std)
        pixels = self.height * self.width
        return np.tile(scale, pixels), np.tile(shift, pixels)


def _scale_and_shift(mean: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (1 / (255 * std)).astype(np.float32), (mean / std).astype(np.float32)
