"""What can be chosen when data is loaded."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from anytimenet.core.errors import DataError
from anytimenet.core.images import check_channels, check_resample, check_size


@dataclass(frozen=True)
class DataOptions:
    """How images are brought into shape and split.

    Attributes:
        image_size: side of the square that images are resized and cropped to; None if all images share
            a size already.
        channels: 1 or 3; None takes 1 if every image is grey, else 3.
        resample: name of the filter that resizes; `box` at an integer factor is the exact mean.
        seed: draws the validation part out of the training part, and the images that `limit` keeps.
        split_seed: draws the test part where the data brings none. It is apart from `seed` so that
            every seed is tested on the same images.
        val_fraction: validation images as a fraction of the training part, where the data brings none.
        test_fraction: test images as a fraction of all, where the data brings none; 0 leaves the test part
            empty.
        limit: at most this many training images, drawn by class; validation and test stay whole.
        skip_bad: leave out images that cannot be read, and count them, instead of raising.
        all_levels: labels on every level of the taxonomy instead of the fine level only. (Labels that a
            dataset gives as tuples keep their levels anyway.)
        cache_dir: folder of decoded images; None takes `$ANYTIMENET_CACHE`, else the user's cache.

    Raises:
        DataError: for a value out of range.

    >>> DataOptions(image_size=16, resample="box").val_fraction
    0.1
    """

    image_size: int | None = None
    channels: int | None = None
    resample: str = "bilinear"
    seed: int = 0
    split_seed: int = 0
    val_fraction: float = 0.1
    test_fraction: float = 0.3
    limit: int | None = None
    skip_bad: bool = False
    all_levels: bool = False
    cache_dir: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields that change the data, as JSON values; `DataOptions(**values)` reads them."""
        return {name: value for name, value in asdict(self).items() if name != "cache_dir"}

    def __post_init__(self) -> None:
        if self.image_size is not None:
            check_size(self.image_size, self.image_size)
        if self.channels is not None:
            check_channels(self.channels)
        check_resample(self.resample)
        if not 0 < self.val_fraction < 1:
            raise DataError(f"val_fraction must lie between 0 and 1, got {self.val_fraction}")
        if not 0 <= self.test_fraction < 1:
            raise DataError(f"test_fraction must be 0 or lie between 0 and 1, got {self.test_fraction}")
        if self.limit is not None and self.limit < 1:
            raise DataError(f"limit must be at least 1 training image, got {self.limit}")
