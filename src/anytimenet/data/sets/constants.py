"""Means and standard deviations that `DataOptions.standardise` takes by name, for data of any kind."""

from __future__ import annotations

from anytimenet.core.errors import DataError
from anytimenet.data.sets.options import DataOptions

CIFAR10_MEAN = tuple(value / 255 for value in (125.3, 123.0, 113.9))
CIFAR10_STD = tuple(value / 255 for value in (63.0, 62.1, 66.7))


def constants_by_name(
    options: DataOptions, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and std of each channel if `options` names them; None where the data's own are wanted.

    Raises:
        DataError: if they are those of images with other channels.

    >>> constants_by_name(DataOptions(), 3) is None
    True
    """
    if options.standardise != "cifar10":
        return None
    if channels != len(CIFAR10_MEAN):
        raise DataError(
            f"the constants of CIFAR-10 are those of colour images, and these have {channels} channels: "
            "take channels=3, or standardise='data'"
        )
    return CIFAR10_MEAN, CIFAR10_STD
