"""Mean and standard deviation that an input is standardised by: of the images, or constants by name."""

from __future__ import annotations

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data.sets.options import DataOptions

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and std of each channel, of values scaled to 0..1."""

CIFAR10_MEAN = tuple(value / 255 for value in (125.3, 123.0, 113.9))
CIFAR10_STD = tuple(value / 255 for value in (63.0, 62.1, 66.7))
_VALUES_AT_ONCE = 2**16  # that are squared as 32-bit numbers


def preprocessing_by(own: Statistics, shape: tuple[int, int, int], options: DataOptions) -> Preprocessing:
    """How images of `shape`, `(H, W, C)`, are standardised: by the constants named, else by their `own`."""
    mean, std = constants_by_name(options, shape[2]) or own
    return Preprocessing(*shape, mean, std, options.resample, options.shorter_side)


def constants_by_name(options: DataOptions, channels: int) -> Statistics | None:
    """Mean and std of each channel if `options` say them; None where the data's own are wanted.

    Raises:
        DataError: if they are those of images with other channels.

    >>> constants_by_name(DataOptions(), 3) is None
    True
    """
    if options.mean is not None and options.std is not None:
        if len(options.mean) != channels:
            raise DataError(
                f"mean and std are of {len(options.mean)} channels, and these images have {channels}: take "
                f"channels={len(options.mean)}"
            )
        return options.mean, options.std
    if options.standardise != "cifar10":
        return None
    if channels != len(CIFAR10_MEAN):
        raise DataError(
            f"the constants of CIFAR-10 are those of colour images, and these have {channels} channels: "
            "take channels=3, or standardise='data'"
        )
    return CIFAR10_MEAN, CIFAR10_STD


def channel_statistics(images: np.ndarray) -> Statistics:
    """Mean and standard deviation of each channel of uint8 `(N, H, W, C)`, values scaled to 0..1.

    Sums are exact integers, so the result is the same on every machine. A constant channel has std 1.

    >>> channel_statistics(np.array([[[[0], [255]]]], dtype=np.uint8))
    ((0.5,), (0.5,))
    """
    channels = images.shape[3]
    total, squares = np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    step = max(1, _VALUES_AT_ONCE // images[0].size)
    for start in range(0, len(images), step):
        rows = images[start : start + step].reshape(-1, images[0].size).astype(np.uint32)
        total += rows.sum(axis=0, dtype=np.int64).reshape(-1, channels).sum(axis=0)
        squares += np.square(rows).sum(axis=0, dtype=np.int64).reshape(-1, channels).sum(axis=0)
    return mean_and_std(total, squares, images.size // channels)


def mean_and_std(total: np.ndarray, squares: np.ndarray, count: int) -> Statistics:
    """The same from the sums of values and of their squares over `count` pixels, int64 `(C,)` each."""
    # Integers until the last step: count * squares - total^2 has no cancellation error.
    variances = [max(0, count * int(s) - int(t) ** 2) / count**2 for s, t in zip(squares, total, strict=True)]
    mean = tuple(int(t) / count / 255 for t in total)
    return mean, tuple(variance**0.5 / 255 if variance else 1.0 for variance in variances)
