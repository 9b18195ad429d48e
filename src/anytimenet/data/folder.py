"""A folder of class folders, with or without train, val and test above them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.taxonomy import Taxonomy
from anytimenet.data.cache import decode_once
from anytimenet.data.decoding import Decoded, decode_all
from anytimenet.data.image_set import ImageSet
from anytimenet.data.options import DataOptions
from anytimenet.data.splits import DataSplits, make_splits

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
PART_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def load_folder(root: Path, options: DataOptions) -> DataSplits:
    """Images under `root/{train,val,test}/CLASS/`, or under `root/CLASS/` alone.

    Without `val` (also called `valid`, `validation`) a part of train becomes it; without `test` a part
    of train becomes that first, by `options.split_seed`. `root/taxonomy.json` may give each class a
    coarser name or a list of names from finer to coarser. Files that are no images by their suffix, and
    those whose name starts with a dot, are left aside.

    Raises:
        DataError: if the folder is missing, badly laid out or holds images that cannot be read.
    """
    root = root.expanduser()
    try:
        files = _list(root)
    except OSError as error:
        raise DataError(f"{root} cannot be listed: {error}") from error
    class_names = sorted({file.class_name for file in files if file.part == "train"})
    _check_classes(files, class_names)
    taxonomy = read_taxonomy(root / "taxonomy.json", class_names)
    decoded = _decode(root, files, options)
    parts = _parts([files[i] for i in decoded.good], decoded.images, class_names)
    _check_left(files, parts, class_names)
    name, skipped = f"folder:{root}", len(decoded.bad)
    return make_splits(name, parts, [class_names], options, taxonomy=taxonomy, skipped=skipped)


@dataclass(frozen=True)
class _File:
    part: str
    class_name: str
    name: str  # relative to the root, with forward slashes
    size: int
    modified_ns: int


def _list(root: Path) -> list[_File]:
    if not root.exists():
        raise DataError(f"the folder {root} does not exist; check the path after folder:")
    if not root.is_dir():
        raise DataError(f"{root} is a file; folder: needs a folder of class folders")
    folders = {part: _part_folder(root, part) for part in PART_NAMES}
    if folders["train"] is None:
        if others := [path.name for path in folders.values() if path]:
            raise DataError(
                f"{root} holds {others[0]}/ but no train/; add one, or rename the class {others[0]!r}"
            )
        return list(_list_classes(root, root, "train"))
    return [file for part, folder in folders.items() if folder for file in _list_classes(root, folder, part)]


def _part_folder(root: Path, part: str) -> Path | None:
    found = [
        entry for entry in sorted(root.iterdir()) if entry.is_dir() and entry.name.lower() in PART_NAMES[part]
    ]
    if len(found) > 1:
        raise DataError(f"{root} holds {found[0].name}/ and {found[1].name}/; keep one of them as {part}/")
    return found[0] if found else None


def _list_classes(root: Path, folder: Path, part: str) -> Iterator[_File]:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    classes = [entry for entry in entries if entry.is_dir()]
    if not classes:
        loose = sum(_is_image(entry.name) for entry in entries)
        found = f"{loose} images but no class folders" if loose else "no class folders"
        raise DataError(f"{folder} holds {found}; put the images of each class into a folder of their own")
    images = {class_folder: sorted(_walk(class_folder)) for class_folder in classes}
    empty = [class_folder for class_folder, paths in images.items() if not paths]
    if empty and (part == "train" or len(empty) == len(classes)):
        raise DataError(
            f"{empty[0]} holds no images ({', '.join(IMAGE_SUFFIXES)}); add some or remove the folder"
        )
    for class_folder, paths in images.items():
        for path in paths:
            name = os.path.relpath(path, root).replace(os.sep, "/")
            yield _File(part, class_folder.name, name, *_size_and_time(path))


def _walk(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder, followlinks=True):
        yield from (os.path.join(parent, name) for name in names if _is_image(name))


def _size_and_time(path: str) -> tuple[int, int]:
    try:
        stat = os.stat(path)
    except FileNotFoundError:  # a broken link; decoding names it
        return -1, 0
    return stat.st_size, stat.st_mtime_ns


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


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


def read_taxonomy(path: Path, class_names: Sequence[str]) -> Taxonomy | None:
    """The coarser names of classes from a `taxonomy.json`; None where there is no such file.

    Raises:
        DataError: if it is not a mapping, or no tree.
    """
    if not path.exists():
        return None
    try:
        mapping = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(mapping, dict):
        raise DataError(f'{path} must map class names to coarser names, for example {{"oak": "tree"}}')
    try:
        return Taxonomy.from_mapping(class_names, mapping)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
