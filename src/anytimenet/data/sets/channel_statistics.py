"""Mean and standard deviation of the channels of images, from sums that are exact."""

from __future__ import annotations

import numpy as np

_VALUES_AT_ONCE = 2**16  # that are squared as 32-bit numbers


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
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


def mean_and_std(
    total: np.ndarray, squares: np.ndarray, count: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The same from the sums of values and of their squares over `count` pixels, int64 `(C,)` each."""
    # Integers until the last step: count * squares - total^2 has no cancellation error.
    variances = [max(0, count * int(s) - int(t) ** 2) / count**2 for s, t in zip(squares, total, strict=True)]
    mean = tuple(int(t) / count / 255 for t in total)
    return mean, tuple(variance**0.5 / 255 if variance else 1.0 for variance in variances)
