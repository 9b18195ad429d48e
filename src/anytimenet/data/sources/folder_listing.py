"""The images of a folder of class folders, by part and class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anytimenet.core.errors import DataError
from anytimenet.core.files.hidden_names import is_hidden
from anytimenet.core.images.formats import IMAGE_SUFFIXES, is_image_name
from anytimenet.data.sources.image_folders import BESIDE_PARTS, LOOSE_IMAGE, Folder, ImageFolders
from anytimenet.data.sources.nested_folders import ClassFolder, find_class_folders


@dataclass(frozen=True)
class ListedImage:
    """An image of a folder, not decoded.

    Attributes:
        part: "train", "val" or "test", or as the caller calls the whole.
        class_name: the folder that it lies in.
        coarser: the folders between part and class, where they are nested.
        name: relative to the root, with forward slashes.
        stamp: size and times of the file.
    """

    part: str
    class_name: str
    coarser: tuple[str, ...]
    name: str
    stamp: tuple[int, ...]


def list_folder(root: Path, tree: ImageFolders, parts: dict[str, Path], *, nested: bool) -> list[ListedImage]:
    """The images of each of the `parts`, or of `root` where there are none, as training images.

    Args:
        parts: the folder of each part; `root` itself may be one.
        tree: reads the folders, and counts what is left aside.
        nested: whether class folders lie in folders of coarser classes.

    Raises:
        DataError: for a layout that cannot be used, or one file in two classes or parts.
        OSError: if a folder cannot be listed.
    """
    files = [
        file
        for part, folder in (parts or {"train": root}).items()
        for file in _list_classes(root, folder, part, tree, nested)
    ]
    if parts and root not in parts.values():
        _count_beside(root, {folder.name for folder in parts.values()}, tree)
    return files


def _count_beside(root: Path, read: set[str], tree: ImageFolders) -> None:
    """What lies beside the folders of the parts and looks like data."""
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and not is_hidden(entry.name) and entry.name not in read:
            tree.aside.add(BESIDE_PARTS, entry)
        elif entry.is_file() and is_image_name(entry.name):
            tree.aside.add(LOOSE_IMAGE, entry)


def _list_classes(
    root: Path, folder: Path, part: str, tree: ImageFolders, nested: bool
) -> Iterator[ListedImage]:
    classes, loose = tree.look(Folder(folder))
    if not classes:
        held = f"{len(loose)} images but no class folders" if loose else "no class folders"
        raise DataError(f"{folder} holds {held}; put the images of each class into a folder of their own")
    for image in loose:
        tree.aside.add(LOOSE_IMAGE, image)
    folders = find_class_folders(folder, tree) if nested else [ClassFolder(inner) for inner in classes]
    images = {
        # By path, for names that do not depend on what else lies beside them.
        inner: sorted(tree.walk(inner.folder, (part, inner.path.name)), key=lambda file: file.path)
        for inner in folders
    }
    empty = [inner.path for inner, found in images.items() if not found]
    if empty and (part == "train" or len(empty) == len(images)):
        raise DataError(
            f"{empty[0]} holds no images ({', '.join(IMAGE_SUFFIXES)}); add some or remove the folder"
        )
    for inner, found in images.items():
        for file in found:
            name = os.path.relpath(file.path, root).replace(os.sep, "/")
            yield ListedImage(part, inner.path.name, inner.coarser, name, file.stamp)
