"""What can be chosen when data is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Literal

from anytimenet.core import checks
from anytimenet.core.errors import DataError
from anytimenet.core.images.decoding import RESAMPLE
from anytimenet.core.records import JsonForm, Record, stored
from anytimenet.data.sets.taxonomies import TaxonomySource, settled_source


@dataclass(frozen=True)
class DataOptions(Record):
    """How images are brought into shape and split.

    Attributes:
        image_size: side of the square that images are resized and cropped to, or height and width; None if
            all images share a size already, or for the size that a data set by name has (224 for imagenet
            and cub).
        shorter_side: the shorter side is resized to this many pixels before the centre is cropped to
            `image_size`; None resizes it to `image_size` (imagenet and cub: to 256/224 of it).
        channels: read images as grey (1) or RGB (3); None takes 1 if every image is grey, else 3.
        resample: filter that resizes; "box" at an integer factor is the exact mean.
        seed: draws the validation part out of the training part, and the images that `limit` keeps.
        split_seed: draws the test part where the data brings none. It is apart from `seed` so that
            every seed is tested on the same images.
        val_fraction: validation images as a fraction of the training part, where the data brings none; 0 for
            none at all. None takes the published share of a data set by name, else 0.1.
        test_fraction: test images as a fraction of all, where the data brings none; 0 leaves the test part
            empty.
        limit: at most this many training images, drawn by class; validation and test stay whole.
        images_per_class: at most this many training images of each class, drawn before `limit`.
        skip_bad: leave out images that cannot be read, and count them, instead of raising.
        all_levels: labels on every level of the taxonomy instead of the fine level only. (Labels that a
            dataset gives as tuples keep their levels anyway.)
        taxonomy: predict coarser labels, too: "own" are the levels that the data brings (cifar100, cub, a
            folder's taxonomy.json), "nested" the folders that class folders lie in, a JSON file gives each
            class a coarser name or a list from finer to coarser. What such a file holds will do, too. A file
            is read at once: its content is what is remembered.
        standardise: mean and std of the input: "preset" are the published ones of data by name, "data" those
            of the training images, "cifar10" those of CIFAR-10. Where nothing is published, "preset" is
            "data"; the authors of I-ResNeXt take those of CIFAR-10 for CIFAR-100. For a net that comes with
            trained weights, "preset" are those of its training.
        mean: the mean that the input is standardised by, for each channel, of values scaled to 0..1.
        std: the standard deviation that goes with it.
        ignore_index: pixel value of masks that is no class; None for none, "file" for that of their
            `classes.json`.
        in_memory: decode imagenet, cub or a folder of any size once and keep the images in memory, instead of
            streaming them.
        cache_dir: folder of decoded images, instead of $ANYTIMENET_CACHE or the user's cache.
        data_root: where the files of data by name are, instead of $ANYTIMENET_DATA or ./data.
        download: fetch the files of data by name that are missing, where a checksum is known.

    Raises:
        TypeError: for a field of another kind.
        DataError: for a value out of range, or a taxonomy that cannot be read.

    >>> DataOptions(image_size=16, resample="box").test_fraction
    0.3
    """

    image_size: int | tuple[int, int] | None = None
    shorter_side: int | None = None
    channels: int | None = None
    resample: str = "bilinear"
    seed: int = 0
    split_seed: int = 0
    val_fraction: float | None = None
    test_fraction: float = 0.3
    limit: int | None = None
    images_per_class: int | None = None
    skip_bad: bool = False
    all_levels: bool = False
    taxonomy: TaxonomySource | None = field(default=None, metadata=stored(read=settled_source))
    standardise: Literal["preset", "data", "cifar10"] = "preset"
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    ignore_index: int | Literal["file"] | None = "file"
    in_memory: bool = False
    cache_dir: Path | None = field(default=None, metadata=stored(here=True))
    data_root: Path | None = field(default=None, metadata=stored(here=True))
    download: bool = field(default=False, metadata=stored(here=True))
    json_form = JsonForm(strict=True, defaults=True)

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that images are resized and cropped to.

        >>> DataOptions(image_size=16).size, DataOptions(image_size=(96, 128)).size
        ((16, 16), (96, 128))
        """
        sides = self.image_size
        return (sides, sides) if isinstance(sides, int) else sides

    def __post_init__(self) -> None:
        object.__setattr__(self, "taxonomy", settled_source(self.taxonomy))
        if self.taxonomy is not None:
            object.__setattr__(self, "all_levels", True)
        with checks.raised_as(DataError):
            self._settle_sizes()
            checks.settle(self, "resample", checks.choice, RESAMPLE)
            checks.settle(self, "seed", checks.whole_number)
            checks.settle(self, "split_seed", checks.whole_number)
            checks.settle(self, "val_fraction", checks.optional, checks.number, 0, below=1)
            checks.settle(self, "test_fraction", checks.number, 0, below=1)
            checks.settle(self, "limit", checks.optional, checks.whole_number, 1)
            checks.settle(self, "images_per_class", checks.optional, checks.whole_number, 1)
            checks.settle(self, "standardise", checks.choice, ("preset", "data", "cifar10"))
            self._settle_statistics()
            if not (isinstance(self.ignore_index, str) and self.ignore_index == "file"):
                checks.settle(self, "ignore_index", checks.optional, checks.whole_number, 0, 255)
            for name in ("skip_bad", "all_levels", "in_memory", "download"):
                checks.settle(self, name, checks.flag)
            for name in ("cache_dir", "data_root"):
                checks.settle(self, name, checks.optional, checks.path)

    def _settle_statistics(self) -> None:
        checks.settle(self, "mean", checks.optional, checks.numbers)
        checks.settle(self, "std", checks.optional, checks.numbers, above=0)
        if self.mean is None and self.std is None:
            return
        if self.mean is None or self.std is None or len(self.mean) != len(self.std):
            raise ValueError("mean and std belong together: give one number for each channel in both")
        if len(self.mean) not in (1, 3):
            raise ValueError(
                f"mean and std need a number for each channel, 1 or 3 in all, not {len(self.mean)}"
            )
        if self.standardise != "preset":
            raise ValueError(
                f"mean and std are given, and standardise={self.standardise!r}: give one of the two"
            )
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))

    def _settle_sizes(self) -> None:
        if self.image_size is not None:
            given = self.image_size
            one = isinstance(given, Integral) or not isinstance(given, Iterable)
            sides = checks.whole_numbers((given, given) if one else given, "image_size", 1, checks.MOST_SIDE)
            if len(sides) != 2:
                raise ValueError(
                    f"image_size must be a side in pixels, or height and width such as (96, 128), not {sides}"
                )
            # One form for one size: options are compared, and written into bundles.
            object.__setattr__(self, "image_size", sides[0] if sides[0] == sides[1] else sides)
        checks.settle(self, "shorter_side", checks.optional, checks.whole_number, 1, checks.MOST_SIDE)
        if self.shorter_side is not None:
            if self.size is None:
                raise ValueError("shorter_side needs image_size: the side of the square that is cropped")
            if self.shorter_side < max(self.size):
                raise ValueError(
                    f"shorter_side must be at least image_size ({self.image_size}), got {self.shorter_side}"
                )
        checks.settle(self, "channels", checks.optional, checks.one_of, (1, 3))


def parse_ignore_index(text: str) -> int | None:
    """`"none"` or a pixel value, as `DataOptions.ignore_index` has it.

    Raises:
        DataError: for anything else.

    >>> parse_ignore_index("none"), parse_ignore_index("255")
    (None, 255)
    """
    if text.lower() == "none":
        return None
    if not text.isdecimal() or int(text) > 255:
        raise DataError(f"ignore index {text!r}: a pixel value from 0 to 255 is needed, or none")
    return int(text)


def parse_image_size(text: str) -> int | tuple[int, int]:
    """`"32"` or `"96x128"`, height first, as `DataOptions.image_size` has it.

    Raises:
        DataError: for anything else.

    >>> parse_image_size("32"), parse_image_size("96x128")
    (32, (96, 128))
    """
    try:
        sides = [int(side) for side in text.lower().split("x")]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2):
        raise DataError(f"image size {text!r}: a side such as 32, or HEIGHTxWIDTH such as 96x128, is needed")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])
