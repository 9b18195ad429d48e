"""A folder of class folders, with or without train, val and test above them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.data.reading.cache import decode_once
from anytimenet.data.reading.decoding import decode_all, decode_one
from anytimenet.data.reading.memory import fits, machine_memory
from anytimenet.data.reading.surveying import survey
from anytimenet.data.sets.image_set import ImageFiles, Images, ImageSet
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import DataSplits, make_splits
from anytimenet.data.sets.taxonomies import read_taxonomy
from anytimenet.data.sources.folder_listing import ListedImage, list_folder
from anytimenet.data.sources.image_folders import ImageFolders
from anytimenet.data.sources.nested_folders import find_part_folders

_log = logging.getLogger(__name__)


def load_folder(root: Path, options: DataOptions, memory: int | None = None) -> DataSplits:
    """Images under `root/{train,val,test}/CLASS/`, or under `root/CLASS/` alone.

    Without `val` (also called `valid`, `validation`) a part of train becomes it; without `test` a part
    of train becomes that first, by `options.split_seed`. `root/taxonomy.json` may give each class a
    coarser name or a list of names from finer to coarser. With the taxonomy `nested` class folders lie in
    folders of coarser classes, `root/train/animals/cats/`, all equally deep; else what lies deeper in a class
    folder is of that class.

    Each real folder and file is read once, however many links lead to it. Files that are no images by their
    suffix, hidden ones and those of systems (`.x.png`, `Thumbs.db`, `@eaDir/`), pipes and devices are left
    aside, counted and told in one line.

    Images are decoded into memory where they fit into half of it, or `options.in_memory` says so; else they
    are looked through once, and read from their files whenever they are needed, as those of imagenet are.

    Args:
        memory: bytes that the machine has; None asks it.

    Raises:
        DataError: if the folder is missing, badly laid out or holds images that cannot be read, or one file
            lies in two classes or parts.
    """
    root = root.expanduser()
    check_root(root)
    try:
        part_folders = find_part_folders(root)
        tree = ImageFolders(root, part_folders.values() or [root])
        try:
            files = list_folder(root, tree, part_folders, nested=options.taxonomy == "nested")
        finally:
            tree.aside.tell(root)  # an error about a class without images is clearer after it
    except OSError as error:
        raise DataError(f"{root} cannot be listed: {error}") from error
    class_names = sorted({file.class_name for file in files if file.part == "train"})
    _check_classes(files, class_names)
    taxonomy = _taxonomy(root, files, class_names, options)
    found = read_listed(root, files, options, memory, to_train=True)
    parts = found.parts(class_names)
    _check_left(files, parts, class_names)
    if options.taxonomy == "nested":
        options = replace(options, taxonomy="own")  # found here, so that it is the data's own from now on
    splits = make_splits(
        f"folder:{root}",
        parts,
        [class_names],
        options,
        taxonomy=taxonomy,
        preprocessing=found.preprocessing,
        skipped=found.skipped,
    )
    return replace(splits, left_aside=tree.aside.counts)


def check_root(root: Path) -> None:
    """Raises DataError unless `root` is a folder."""
    if not root.exists():
        raise DataError(f"the folder {root} does not exist; check the path after folder:")
    if not root.is_dir():
        raise DataError(f"{root} is a file; folder: needs a folder of class folders")


@dataclass(frozen=True, eq=False)
class FolderImages:
    """The images of a folder that can be read.

    Attributes:
        files: by part, as they lie.
        skipped: how many cannot be read.
        source: the decoded images of `files`, or the folder where they stay.
        preprocessing: of a training part whose images stay there; None where they are decoded.
    """

    files: list[ListedImage]
    skipped: int
    source: np.ndarray | Path
    preprocessing: Callable[[Images], Preprocessing] | None = None

    def parts(self, class_names: Sequence[str]) -> dict[str, Images]:
        """The parts that have images, with labels by their places in `class_names`; pixels are not copied."""
        ids = {name: i for i, name in enumerate(class_names)}
        labels = np.array([[ids[file.class_name]] for file in self.files], dtype=np.int64)
        parts: dict[str, Images] = {}
        start = 0
        for part in dict.fromkeys(file.part for file in self.files):
            names = tuple(file.name for file in self.files if file.part == part)
            run = slice(start, start := start + len(names))
            parts[part] = (
                ImageFiles(self.source, labels[run], names)
                if isinstance(self.source, Path)
                else ImageSet(self.source[run], labels[run], names)
            )
        return parts


def read_listed(
    root: Path, files: list[ListedImage], options: DataOptions, memory: int | None, *, to_train: bool = False
) -> FolderImages:
    """Decodes files where they fit into half of the memory, from the cache where that was done before.

    Else they are looked through once, and stay where they are; that is said where they are read `to_train`.
    """
    listing = [(file.name, *file.stamp) for file in files]
    needed = _decoded_bytes(root, files, options)
    if options.in_memory or fits(needed, machine_memory() if memory is None else memory):
        names = [file.name for file in files]
        decoded = decode_once(
            "folder",
            str(root.resolve()),
            listing,
            options,
            lambda: decode_all(lambda i: root / names[i], names, options),
        )
        return FolderImages([files[i] for i in decoded.good], len(decoded.bad), decoded.images)
    if to_train:
        _log.warning(
            "the images of folder:%s would take %.1f GiB decoded, more than half of the memory: they are "
            "read from their files while training runs (in_memory=True decodes them once)",
            root,
            needed / 2**30,
        )
    found = survey("folder", root, listing, options)
    good = [files[i] for i in found.good]
    return FolderImages(
        good, len(found.bad), root, found.preprocessing_by([file.name for file in good], options)
    )


def _decoded_bytes(root: Path, files: list[ListedImage], options: DataOptions) -> int:
    """What all images take in memory, by the size of the first if none was chosen."""
    size = options.size
    if size is None:
        try:
            size = decode_one(root / files[0].name, options).shape[:2]
        except DataError:
            return 0  # told of when all are decoded
    return len(files) * size[0] * size[1] * (options.channels or 3)


def _check_classes(files: list[ListedImage], class_names: list[str]) -> None:
    known = set(class_names)
    for file in files:
        if file.class_name not in known:
            raise DataError(
                f"class {file.class_name!r} of the {file.part} part has no folder in train; "
                "add training images of it or remove it"
            )


def _taxonomy(
    root: Path, files: list[ListedImage], class_names: list[str], options: DataOptions
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
    try:
        return read_taxonomy(root / "taxonomy.json", class_names)
    except DataError as error:
        if options.all_levels:
            raise
        _log.warning("%s: it is left aside, for no label levels were asked for", error)
        return None


def _check_left(files: list[ListedImage], parts: Mapping[str, Images], class_names: list[str]) -> None:
    """After bad images were left out: something is left of every part, and of every class in train."""
    for part in sorted({file.part for file in files} - set(parts)):
        raise DataError(f"no image of the {part} part can be read; replace its images or remove the folder")
    for label, name in enumerate(class_names):
        if label not in parts["train"].labels[:, 0]:
            raise DataError(f"no training image of {name!r} can be read; replace them or remove the class")
