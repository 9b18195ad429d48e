"""A folder to be judged or read as it is: nothing is drawn out of it, and no class or part must be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anytimenet.core.errors import DataError
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.data.sets.image_set import Images, MaskSet
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sources.judged_folders import read_class_folders
from anytimenet.data.sources.masks import read_mask_folders

WHOLE = "all"
"""The one part of a folder that has none."""


@dataclass(frozen=True, eq=False)
class WholeData:
    """What a folder holds.

    Attributes:
        parts: the images of "train", "val" and "test", as far as the folder has them, or of `WHOLE`; labels
            have the fine level alone.
        skipped: images left out because they could not be read.
        mask_classes: what the pixels of masks mean; None where labels are of whole images.
    """

    parts: Mapping[str, Images | MaskSet]
    skipped: int
    mask_classes: MaskClasses | None = None


def read_whole(name: str, options: DataOptions, class_names: Sequence[Sequence[str]]) -> WholeData:
    """The images of `folder:PATH`, `masks:PATH` or `camvid:PATH`, labelled by classes that are known.

    A folder of class folders, of one class folder, of `test/` alone: each is read as it is.

    Args:
        class_names: of each label level, fine level first. Class folders may be some of the fine ones, side
            by side or within folders of the coarser ones.

    Raises:
        DataError: for a class that is not among them, or a folder that is missing or cannot be read.
    """
    kind, _, path = name.partition(":")
    if not path:
        raise DataError(f"{kind}: needs a path, for example {kind}:data/{kind}")
    root = Path(path).expanduser()
    if kind == "folder":
        parts, skipped = read_class_folders(root, options, class_names)
        return WholeData(_one_part(parts), skipped)
    found = read_mask_folders(root, options, kind)
    return WholeData(_one_part(found.parts), found.skipped, found.classes)


def _one_part(parts: Mapping[str, Images | MaskSet]) -> dict[str, Images | MaskSet]:
    return {WHOLE if part == "" else part: images for part, images in parts.items()}
