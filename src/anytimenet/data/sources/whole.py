"""A folder as it is, for classes that are known: nothing is drawn out of it, and no class must be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anytimenet.core.errors import DataError, suggest
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.data.sets.image_set import AnyImages, Images
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sources.folder import check_root, read_listed
from anytimenet.data.sources.folder_listing import ListedImage, list_folder
from anytimenet.data.sources.image_folders import ImageFolders
from anytimenet.data.sources.masks import read_mask_folders
from anytimenet.data.sources.nested_folders import WHOLE, find_part_folders


@dataclass(frozen=True, eq=False)
class WholeData:
    """What a folder holds.

    Attributes:
        parts: the images of "train", "val" and "test", as far as the folder has them, or of `WHOLE`; labels
            have the fine level alone.
        skipped: images left out because they could not be read.
        mask_classes: what the pixels of masks mean; None where labels are of whole images.
    """

    parts: Mapping[str, AnyImages]
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
        return WholeData(parts, skipped)
    found = read_mask_folders(root, options, kind)
    return WholeData(found.parts, found.skipped, found.classes)


def read_class_folders(
    root: Path, options: DataOptions, class_names: Sequence[Sequence[str]], memory: int | None = None
) -> tuple[dict[str, Images], int]:
    """The images of each part of a folder, of `WHOLE` where it has no parts, and how many cannot be read.

    As for training they are decoded where they fit into half of the memory, and else stay in their files.

    Args:
        class_names: of each label level, fine level first; labels are places among the fine ones.
        memory: bytes that the machine has; None asks it.

    Raises:
        DataError: for a class folder that is none of them, or a folder that is missing or badly laid out.
    """
    check_root(root)
    files = _listed(root, class_names)
    _check_classes(root, files, class_names[0])
    found = read_listed(root, files, options, memory)
    return found.parts(class_names[0]), found.skipped


def _listed(root: Path, class_names: Sequence[Sequence[str]]) -> list[ListedImage]:
    try:
        folders = find_part_folders(root, to_train=False) or {WHOLE: root}
        tree = ImageFolders(root, folders.values())
        try:
            return list_folder(root, tree, folders, nested=_nested(folders, class_names))
        finally:
            tree.aside.tell(root)
    except OSError as error:
        raise DataError(f"{root} cannot be listed: {error}") from error


def _nested(folders: dict[str, Path], class_names: Sequence[Sequence[str]]) -> bool:
    """Whether class folders lie within folders of coarser classes: none of the fine ones lies outermost."""
    if len(class_names) == 1:
        return False
    outer = {entry.name for folder in folders.values() for entry in folder.iterdir() if entry.is_dir()}
    return not outer & set(class_names[0]) and bool(outer & set(class_names[-1]))


def _check_classes(root: Path, files: Sequence[ListedImage], known: Sequence[str]) -> None:
    for file in files:
        if file.class_name not in known:
            raise DataError(
                f"the classes of folder:{root} are not those that the bundle knows: {file.class_name!r} is "
                f"none of its {len(known)} classes; {suggest(file.class_name, known)}"
            )
