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
from anytimenet.data.image_set import ImageSet
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
    folder is of that class. Files that are no images by their suffix, and those whose name starts with a
    dot, are left aside.

    Raises:
        DataError: if the folder is missing, badly laid out or holds images that cannot be read.
    """
    root = root.expanduser()
    try:
        files = _list(root, nested=options.taxonomy == "nested")
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
    return make_splits(name, parts, [class_names], options, taxonomy=taxonomy, skipped=skipped)


def outer_folders(root: Path) -> set[str]:
    """Names of the folders right under `root/train/`, or under `root` where there are no parts.

    They are the classes, or where class folders are nested the coarsest ones. Empty if there is no such root.
    """
    root = root.expanduser()
    if not root.is_dir():
        return set()
    train = find_part_folders(root).get("train", root)
    return {entry.name for entry in train.iterdir() if entry.is_dir() and not entry.name.startswith(".")}


@dataclass(frozen=True)
class _File:
    part: str
    class_name: str
    coarser: tuple[str, ...]  # the folders between part and class, where they are nested
    name: str  # relative to the root, with forward slashes
    size: int
    modified_ns: int


def _list(root: Path, *, nested: bool) -> list[_File]:
    if not root.exists():
        raise DataError(f"the folder {root} does not exist; check the path after folder:")
    if not root.is_dir():
        raise DataError(f"{root} is a file; folder: needs a folder of class folders")
    folders = find_part_folders(root) or {"train": root}
    return [file for part, folder in folders.items() for file in _list_classes(root, folder, part, nested)]


def _list_classes(root: Path, folder: Path, part: str, nested: bool) -> Iterator[_File]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    classes = [entry for entry in entries if entry.is_dir()]
    if not classes:
        loose = sum(is_image_name(entry.name) for entry in entries)
        found = f"{loose} images but no class folders" if loose else "no class folders"
        raise DataError(f"{folder} holds {found}; put the images of each class into a folder of their own")
    folders = find_class_folders(folder, is_image_name) if nested else [ClassFolder(path) for path in classes]
    images = {class_folder: sorted(_walk(class_folder.path)) for class_folder in folders}
    empty = [class_folder.path for class_folder, paths in images.items() if not paths]
    if empty and (part == "train" or len(empty) == len(images)):
        raise DataError(
            f"{empty[0]} holds no images ({', '.join(IMAGE_SUFFIXES)}); add some or remove the folder"
        )
    for class_folder, paths in images.items():
        for path in paths:
            name = os.path.relpath(path, root).replace(os.sep, "/")
            class_name = class_folder.path.name
            yield _File(part, class_name, class_folder.coarser, name, *_size_and_time(path))


def _walk(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder, followlinks=True):
        yield from (os.path.join(parent, name) for name in names if is_image_name(name))


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except FileNotFoundError:  # a broken link; decoding names it
        return -1, 0
    return stat.st_size, stat.st_mtime_ns


def _decode(root: Path, files: list[_File], options: DataOptions) -> Decoded:
    listing = [(file.name, file.size, file.modified_ns) for file in files]
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
