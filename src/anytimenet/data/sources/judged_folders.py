"""Class folders read for classes that are known already: all of them, and none that must be there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anytimenet.core.errors import DataError, suggest
from anytimenet.data.reading.memory import fits, machine_memory
from anytimenet.data.reading.surveying import survey
from anytimenet.data.sets.image_set import ImageFiles, Images, ImageSet
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sources.folder import check_root, decode_listed, decoded_bytes
from anytimenet.data.sources.folder_listing import ListedImage, list_folder
from anytimenet.data.sources.image_folders import ImageFolders
from anytimenet.data.sources.part_folders import find_part_folders


def read_class_folders(
    root: Path, options: DataOptions, class_names: Sequence[Sequence[str]], memory: int | None = None
) -> tuple[dict[str, Images], int]:
    """The images of each part of a folder, of `""` where it has no parts, and how many cannot be read.

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
    listing = [(file.name, *file.stamp) for file in files]
    if options.in_memory or fits(
        decoded_bytes(root, files, options), machine_memory() if memory is None else memory
    ):
        decoded = decode_listed(root, listing, options)
        good, skipped, pixels = decoded.good, len(decoded.bad), decoded.images
    else:
        found = survey("folder", root, listing, options)
        good, skipped, pixels = found.good, len(found.bad), None
    ids = {name: place for place, name in enumerate(class_names[0])}
    left = [files[i] for i in good]
    parts: dict[str, Images] = {}
    for part in dict.fromkeys(file.part for file in left):
        places = [i for i, file in enumerate(left) if file.part == part]
        run = slice(places[0], places[-1] + 1)  # the files of a part lie side by side
        labels = np.array([[ids[file.class_name]] for file in left[run]], dtype=np.int64)
        names = tuple(file.name for file in left[run])
        parts[part] = (
            ImageFiles(root, labels, names) if pixels is None else ImageSet(pixels[run], labels, names)
        )
    return parts, skipped


def _listed(root: Path, class_names: Sequence[Sequence[str]]) -> list[ListedImage]:
    try:
        folders = find_part_folders(root, to_train=False) or {"": root}
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
