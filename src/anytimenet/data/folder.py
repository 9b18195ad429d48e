"""A folder of class folders, with or without train, val and test above them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.image_formats import IMAGE_SUFFIXES, is_image_name
from anytimenet.core.taxonomy import Taxonomy
from anytimenet.data.cache import decode_once
from anytimenet.data.decoding import Decoded, decode_all
from anytimenet.data.image_folders import Folder, ImageFolders
from anytimenet.data.image_set import ImageSet
from anytimenet.data.left_aside import BESIDE_PARTS, LOOSE_IMAGE, is_hidden
from anytimenet.data.nested_folders import ClassFolder, find_class_folders
from anytimenet.data.options import DataOptions
from anytimenet.data.part_folders import PART_NAMES, find_part_folders
from anytimenet.data.splits import DataSplits, make_splits
from anytimenet.data.taxonomies import read_taxonomy


def load_folder(root: Path, options: DataOptions) -> DataSplits:
    """Images under `root/{train,val,test}/CLASS/`, or under `root/CLASS/` alone.

    Without `val` (also called `valid`, `validation`) a part of train becomes it; without `test` a part
    of train becomes that first, by `options.split_seed`. `root/taxonomy.json` may give each class a
    coarser name or a list of names from finer to coarser. With the taxonomy `nested` class folders lie in
    folders of coarser classes, `root/train/animals/cats/`, all equally deep; else what lies deeper in a class
    folder is of that class.

    Each real folder and file is read once, however many links lead to it. Files that are no images by their
    suffix, hidden ones and those of systems (`.x.png`, `Thumbs.db`, `@eaDir/`), pipes and devices are left
    aside, counted and told in one line.

    Raises:
        DataError: if the folder is missing, badly laid out or holds images that cannot be read, or one file
            lies in two classes or parts.
    """
    root = root.expanduser()
    _check_root(root)
    try:
        part_folders = find_part_folders(root)
        tree = ImageFolders(root, part_folders.values() or [root])
        try:
            files = _list(root, tree, part_folders, nested=options.taxonomy == "nested")
        finally:
            tree.aside.tell(root)  # an error about a class without images is clearer after it
    except OSError as error:
        raise DataError(f"{root} cannot be listed: {error}") from error
    class_names = sorted({file.class_name for file in files if file.part == "train"})
    _check_classes(files, class_names)
    taxonomy = _taxonomy(root, files, class_names, options)
    decoded = _decode(root, files, options)
    parts = _parts([files[i] for i in decoded.good], decoded.images, class_names)
    _check_left(files, parts, class_names)
    name, skipped = f"folder:{root}", len(decoded.bad)
    if options.taxonomy == "nested":
        options = replace(options, taxonomy="own")  # found here, so that it is the data's own from now on
    splits = make_splits(name, parts, [class_names], options, taxonomy=taxonomy, skipped=skipped)
    return replace(splits, left_aside=tree.aside.counts)


def _check_root(root: Path) -> None:
    if not root.exists():
        raise DataError(f"the folder {root} does not exist; check the path after folder:")
    if not root.is_dir():
        raise DataError(f"{root} is a file; folder: needs a folder of class folders")


def outer_folders(root: Path) -> set[str]:
    """Names of the folders right under `root/train/`, or under `root` where there are no parts.

    They are the classes, or where class folders are nested the coarsest ones. Empty if there is no such root.
    """
    root = root.expanduser()
    if not root.is_dir():
        return set()
    train = find_part_folders(root).get("train", root)
    return {entry.name for entry in train.iterdir() if entry.is_dir() and not is_hidden(entry.name)}


@dataclass(frozen=True)
class _File:
    part: str
    class_name: str
    coarser: tuple[str, ...]  # the folders between part and class, where they are nested
    name: str  # relative to the root, with forward slashes
    stamp: tuple[int, ...]


def _list(root: Path, tree: ImageFolders, parts: dict[str, Path], *, nested: bool) -> list[_File]:
    files = [
        file
        for part, folder in (parts or {"train": root}).items()
        for file in _list_classes(root, folder, part, tree, nested)
    ]
    if parts:
        _count_beside(root, {folder.name for folder in parts.values()}, tree)
    return files


def _count_beside(root: Path, read: set[str], tree: ImageFolders) -> None:
    """What lies beside the folders of the parts and looks like data."""
    for entry in sorted(root.iterdir()):
        if entry.is_dir() and not is_hidden(entry.name) and entry.name not in read:
            tree.aside.add(BESIDE_PARTS, entry)
        elif entry.is_file() and is_image_name(entry.name):
            tree.aside.add(LOOSE_IMAGE, entry)


def _list_classes(root: Path, folder: Path, part: str, tree: ImageFolders, nested: bool) -> Iterator[_File]:
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
            yield _File(part, inner.path.name, inner.coarser, name, file.stamp)


def _decode(root: Path, files: list[_File], options: DataOptions) -> Decoded:
    listing = [(file.name, *file.stamp) for file in files]
    return decode_once(
        "folder",
        str(root.resolve()),
        listing,
        options,
        lambda: decode_all(lambda i: root / files[i].name, [file.name for file in files], options),
    )


def _check_classes(files: list[_File], class_names: list[str]) -> None:
    known = set(class_names)
    for file in files:
        if file.class_name not in known:
            raise DataError(
                f"class {file.class_name!r} of the {file.part} part has no folder in train; "
                "add training images of it or remove it"
            )


def _taxonomy(
    root: Path, files: list[_File], class_names: list[str], options: DataOptions
) -> Taxonomy | None:
    """The folder's own taxonomy, where none was given."""
    if options.taxonomy == "nested":
        coarser = {file.class_name: file.coarser for file in files if file.part == "train"}
        for file in files:
            if file.coarser != coarser[file.class_name]:
                raise DataError(
                    f"{file.name} is not where the training images of {file.class_name!r} are, which lie in "
                    f"{'/'.join(reversed(coarser[file.class_name]))}/: nest every part in the same way"
                )
        return Taxonomy.from_mapping(class_names, coarser)
    if isinstance(options.taxonomy, dict):
        return None
    return read_taxonomy(root / "taxonomy.json", class_names)


def _check_left(files: list[_File], parts: dict[str, ImageSet], class_names: list[str]) -> None:
    """After bad images were left out: something is left of every part, and of every class in train."""
    for part in sorted({file.part for file in files} - set(parts)):
        raise DataError(f"no image of the {part} part can be read; replace its images or remove the folder")
    for label, name in enumerate(class_names):
        if label not in parts["train"].labels[:, 0]:
            raise DataError(f"no training image of {name!r} can be read; replace them or remove the class")


def _parts(files: list[_File], images: np.ndarray, class_names: list[str]) -> dict[str, ImageSet]:
    """The parts that have images; each is a run of `files`, so its images need no copy."""
    ids = {name: i for i, name in enumerate(class_names)}
    labels = np.array([[ids[file.class_name]] for file in files], dtype=np.int64)
    parts, start = {}, 0
    for part in PART_NAMES:
        names = tuple(file.name for file in files if file.part == part)
        run = slice(start, start + len(names))
        start = run.stop
        if names:
            parts[part] = ImageSet(images[run], labels[run], names)
    return parts
