"""A look at a folder before anything is decoded: how many images train, and how large they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from anytimenet.core.errors import DataError
from anytimenet.core.images.formats import opened_image
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import VAL_FRACTION
from anytimenet.data.sources.folder import check_root
from anytimenet.data.sources.folder_listing import list_folder
from anytimenet.data.sources.image_folders import ImageFolders
from anytimenet.data.sources.nested_folders import find_part_folders

_SAMPLE = 50


@dataclass(frozen=True)
class FirstLook:
    """What is known of a folder of class folders.

    Attributes:
        images: how many will train, about.
        short_side: median of the shorter sides of a sample, in pixels; 0 if none can be read.
    """

    images: int
    short_side: float


def first_look(root: Path, options: DataOptions) -> FirstLook:
    """Counts the images that `load_folder` would train with, and reads the sizes of fifty of them.

    Raises:
        DataError: if the folder is missing or badly laid out.
    """
    root = root.expanduser()
    check_root(root)
    try:
        parts = find_part_folders(root)
        tree = ImageFolders(root, parts.values() or [root])
        files = list_folder(root, tree, parts, nested=options.taxonomy == "nested")
    except OSError as error:
        raise DataError(f"{root} cannot be listed: {error}") from error
    given = {file.part for file in files}
    train = [file for file in files if file.part == "train"]
    left = 1.0 if "test" in given else 1 - options.test_fraction
    if "val" not in given:
        left *= 1 - (VAL_FRACTION if options.val_fraction is None else options.val_fraction)
    classes = len({file.class_name for file in train})
    limits = (options.limit, options.images_per_class and options.images_per_class * classes)
    images = min([round(len(train) * left), *(limit for limit in limits if limit is not None)])
    step = max(1, len(train) // _SAMPLE)
    sides = [side for file in train[::step] if (side := _short_side(root / file.name))]
    return FirstLook(images, median(sides) if sides else 0.0)


def _short_side(path: Path) -> int:
    """Of the image in a file; 0 where it cannot be read, which is told of when it is decoded."""
    try:
        with opened_image(path) as image:
            return min(image.upright_size)
    except Exception:  # nearly any, from Pillow
        return 0
