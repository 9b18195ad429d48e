"""ImageNet (ILSVRC 2012) from the folders that its archives unpack to."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from anytimenet.core.errors import DataError
from anytimenet.core.files.regular import read_text
from anytimenet.data.sets.image_set import ImageFiles
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import DataSplits
from anytimenet.data.sources.image_folders import Folder, ImageFolders
from anytimenet.data.sources.named.catalogue import IMAGENET
from anytimenet.data.sources.named.in_files import label_column, split_files

_WNID = re.compile(r"n\d{8}")
_KAGGLE, _DEVKIT, _IDS = (
    "LOC_val_solution.csv",
    "ILSVRC2012_validation_ground_truth.txt",
    "map_clsloc.txt",
)
_DEVKIT_FOLDERS = ("", "data", "devkit/data", "ILSVRC2012_devkit_t12/data")


def load_imagenet(path: Path, options: DataOptions) -> DataSplits:
    """Images under `path/train/WNID/`, tested on the official validation images under `path/val`.

    Those are in folders `val/WNID/` too, or flat with their classes in one of two texts beside `val`:
    `LOC_val_solution.csv` (rows `ImageId,PredictionString`, of which the first word is the wnid), or the
    development kit's `ILSVRC2012_validation_ground_truth.txt` (the id of image i in line i) with
    `map_clsloc.txt` (lines `wnid id name`), also in `data/` or a `devkit/data/` there. The layout
    `ILSVRC/Data/CLS-LOC/{train,val}` is found as well. Classes are the wnids, sorted; any subset of them
    is read in the same way. A share of 50,000 / 1,281,167 of the training images is held out.

    Raises:
        DataError: if folders or ground truth are missing or do not agree.
    """
    base = path.expanduser()
    root = next((r for r in (base, base / "ILSVRC/Data/CLS-LOC") if (r / "train").is_dir()), None)
    if root is None or not (root / "val").is_dir():
        raise DataError(
            f"imagenet needs {base}/train/WNID/*.JPEG and {base}/val; unpack the archives of {IMAGENET.page} "
            "there (they need a login, so that download=True does not fetch them)"
        )
    try:
        tree = ImageFolders(root, [root / "train", root / "val"])
        train = _class_folders(root, "train", tree)
        wnids = sorted({wnid for wnid, _ in train})
        test = _class_folders(root, "val", tree) or _flat(root, base, tree)
        train, test = _once_each(root, {"train": train, "val": test}, tree)
    except OSError as error:
        raise DataError(f"{root} cannot be listed: {error}") from error
    tree.aside.tell(root)
    parts = {"train": _files(root, train, wnids), "test": _files(root, test, wnids)}
    splits = split_files(IMAGENET, path, parts, wnids, options)
    return replace(splits, left_aside=tree.aside.counts)


_Labelled = list[tuple[str, str]]  # wnid and path relative to the root


def _class_folders(root: Path, part: str, tree: ImageFolders) -> _Labelled:
    folders = [f for f in tree.look(Folder(root / part))[0] if _WNID.fullmatch(f.name)]
    found = [(f.name, f"{part}/{f.name}/{name}") for f in folders for name in _images(f, tree)]
    if part == "train" and not found:
        raise DataError(f"{root / part} holds no folders of images that are called after wnids (n01440764)")
    return found


def _images(folder: Folder, tree: ImageFolders) -> list[str]:
    return [os.path.basename(path) for path in tree.images_in(folder)]


def _once_each(root: Path, parts: dict[str, _Labelled], tree: ImageFolders) -> list[_Labelled]:
    """The parts, each real file once; where there are no links a million files need no closer look."""
    labelled = parts.values()
    if not any(os.path.islink(root / name) for images in labelled for _, name in images):
        return list(labelled)
    return [
        [(wnid, name) for wnid, name in images if tree.take(str(root / name), (part, wnid))]
        for part, images in parts.items()
    ]


def _flat(root: Path, base: Path, tree: ImageFolders) -> _Labelled:
    """The validation images in one folder, with the classes that a text gives them."""
    names = _images(Folder(root / "val"), tree)
    if not names:
        raise DataError(f"{root / 'val'} holds no images; unpack the validation archive there")
    places = [folder / sub for folder in dict.fromkeys((base, root)) for sub in _DEVKIT_FOLDERS]
    for names_of_form, read in _FORMS:
        for place in places:
            paths = [place / name for name in names_of_form]
            if all(path.is_file() for path in paths):
                return _joined(root / "val", names, _read_truth(read, paths), paths[0])
    raise DataError(
        f"{root / 'val'} has no class folders, so it needs the classes of its images in a text in {base}: "
        f"{_KAGGLE}, or {_DEVKIT} with {_IDS} (lines `wnid id name`; meta.mat is not read)"
    )


def _joined(folder: Path, names: list[str], truth: dict[str, str], path: Path) -> _Labelled:
    if {Path(name).stem for name in names} != set(truth) or len(names) != len(truth):
        raise DataError(
            f"{folder} holds {len(names)} images but {path} is about {len(truth)} others; both must be of "
            "the same images"
        )
    return [(truth[Path(name).stem], f"val/{name}") for name in names]


def _read_truth(read: Callable[[Sequence[Path]], dict[str, str]], paths: Sequence[Path]) -> dict[str, str]:
    try:
        return read(paths)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{' or '.join(map(str, paths))} is not the text that it should be ({error})"
        ) from error


def _read_kaggle(paths: Sequence[Path]) -> dict[str, str]:
    with open(paths[0], encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row][1:]
    truth = {row[0]: row[1].split()[0] for row in rows if len(row) == 2 and row[1].split()}
    if len(truth) != len(rows) or not all(_WNID.fullmatch(wnid) for wnid in truth.values()):
        raise DataError(f"{paths[0]} needs rows ImageId,PredictionString that begin with a wnid")
    return truth


def _read_devkit(paths: Sequence[Path]) -> dict[str, str]:
    entries = [line.split() for line in read_text(paths[1]).splitlines() if line.strip()]
    ids = {entry[1]: entry[0] for entry in entries if len(entry) > 1}
    if len(ids) != len(entries) or not all(i.isdigit() and _WNID.fullmatch(w) for i, w in ids.items()):
        raise DataError(f"{paths[1]} needs lines `wnid id name` with an id each, such as n02119789 1 kit_fox")
    lines = read_text(paths[0]).split()
    if unknown := [line for line in lines if line not in ids]:
        raise DataError(f"{paths[0]} has the id {unknown[0]}, which {paths[1]} lacks")
    return {f"ILSVRC2012_val_{i:08d}": ids[line] for i, line in enumerate(lines, start=1)}


_FORMS: tuple[tuple[tuple[str, ...], Callable[[Sequence[Path]], dict[str, str]]], ...] = (
    ((_KAGGLE,), _read_kaggle),
    ((_DEVKIT, _IDS), _read_devkit),
)


def _files(root: Path, labelled: _Labelled, wnids: Sequence[str]) -> ImageFiles:
    ids = {wnid: i for i, wnid in enumerate(wnids)}
    if unknown := sorted({wnid for wnid, _ in labelled} - set(ids)):
        raise DataError(
            f"{root / 'val'} has images of {unknown[0]} ({len(unknown)} such classes), which train lacks; "
            "add training images of them or remove them from val"
        )
    return ImageFiles(root, label_column([ids[wnid] for wnid, _ in labelled]), tuple(n for _, n in labelled))
