"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) from the published binary or python files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import DataSplits
from anytimenet.data.sources.named.catalogue import CIFAR10, CIFAR100
from anytimenet.data.sources.named.in_memory import Arrays, split_arrays
from anytimenet.data.sources.named.official import OfficialFiles, official_files
from anytimenet.data.sources.named.plain_pickle import load_plain

_SIDE, _PIXELS = 32, 3 * 32 * 32
_Batch = tuple[np.ndarray, np.ndarray]  # labels (N, levels), fine level first, and images


def load_cifar10(options: DataOptions) -> DataSplits:
    """50,000 training and 10,000 test images 32x32 of ten classes, 5,000 of the former held out.

    Raises:
        DataError: if the files are missing or damaged.
    """
    files = official_files(CIFAR10, options)
    binary = files.form == "binary"
    read = _binary_batch if binary else _python_batch
    suffix = ".bin" if binary else ""
    batches = [read(files, f"data_batch_{i}{suffix}", ("labels",)) for i in range(1, 6)]
    test = read(files, f"test_batch{suffix}", ("labels",))
    if binary:
        names = _lines(files, "batches.meta.txt")
    else:
        names = _names(files, "batches.meta", "label_names")
    train = tuple(np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    _check_labels(files, (train[0], test[0]), (names,))
    return split_arrays(CIFAR10, _fine(train), _fine(test), names, options)


def load_cifar100(options: DataOptions) -> DataSplits:
    """50,000 training and 10,000 test images 32x32 of 100 classes in 20 superclasses, 5,000 held out.

    Raises:
        DataError: if the files are missing or damaged, or a class has two superclasses.
    """
    files = official_files(CIFAR100, options)
    if files.form == "binary":
        fine, coarse = (_lines(files, f"{level}_label_names.txt") for level in ("fine", "coarse"))
        train, test = (_binary_batch(files, f"{part}.bin", _LEVELS) for part in ("train", "test"))
    else:
        fine, coarse = (_names(files, "meta", f"{level}_label_names") for level in ("fine", "coarse"))
        train, test = (_python_batch(files, part, _LEVELS) for part in ("train", "test"))
    _check_labels(files, (train[0], test[0]), (fine, coarse))
    taxonomy = _superclasses(files, np.concatenate([train[0], test[0]]), fine, coarse)
    return split_arrays(CIFAR100, _fine(train), _fine(test), fine, options, taxonomy)


_LEVELS = ("fine_labels", "coarse_labels")


def _fine(batch: Sequence[np.ndarray]) -> Arrays:
    labels, images = batch
    return images, labels[:, 0]


def _binary_batch(files: OfficialFiles, name: str, levels: Sequence[str]) -> _Batch:
    """Rows of one label a level, the coarse level first, and three planes of pixels."""
    content, row = files.content[name], len(levels) + _PIXELS
    if not content or len(content) % row:
        raise DataError(
            f"{files.where(name)} has {len(content)} bytes, no images of {row} bytes each; get it again"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, row)
    return rows[:, : len(levels)][:, ::-1], _images(rows[:, len(levels) :])


def _python_batch(files: OfficialFiles, name: str, levels: Sequence[str]) -> _Batch:
    batch = _dictionary(files, name)
    pixels, columns = batch.get("data"), [batch.get(level) for level in levels]
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise DataError(f"{files.where(name)} holds no array of images; get it again")
    if not all(_are_labels(column, len(pixels)) for column in columns):
        raise DataError(f"{files.where(name)} holds no label for each of {len(pixels)} images; get it again")
    return np.array(columns, dtype=np.int64).T, _images(pixels)


def _are_labels(column: Any, count: int) -> bool:
    return (
        isinstance(column, list)
        and len(column) == count > 0
        and all(type(label) is int and 0 <= label < 256 for label in column)
    )


def _images(rows: np.ndarray) -> np.ndarray:
    # Copied into rows of pixels at once: joining views would keep the planes in memory.
    return np.ascontiguousarray(rows.reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1))


def _lines(files: OfficialFiles, name: str) -> list[str]:
    text = files.content[name].decode("utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _names(files: OfficialFiles, name: str, key: str) -> list[str]:
    names = _dictionary(files, name).get(key)
    if not isinstance(names, list) or not all(isinstance(entry, str) for entry in names):
        raise DataError(f"{files.where(name)} holds no {key}; get it again")
    return names


def _dictionary(files: OfficialFiles, name: str) -> Mapping[str, Any]:
    value = load_plain(files.content[name], files.where(name))
    if not isinstance(value, dict):
        raise DataError(f"{files.where(name)} holds no dictionary; get it again")
    return value


def _check_labels(files: OfficialFiles, parts: Sequence[np.ndarray], names: Sequence[Sequence[str]]) -> None:
    for labels in parts:
        for level, known in enumerate(names):
            if (highest := int(labels[:, level].max())) >= len(known):
                raise DataError(
                    f"{files.origin} has labels up to {highest} but {len(known)} class names; get it again"
                )


def _superclasses(
    files: OfficialFiles, labels: np.ndarray, fine: Sequence[str], coarse: Sequence[str]
) -> Taxonomy:
    """Which superclass each class has, as the labels of the images say."""
    parents: dict[int, int] = {}
    for child, parent in np.unique(labels, axis=0).tolist():
        if parents.setdefault(child, parent) != parent:
            raise DataError(
                f"{files.origin} puts {fine[child]!r} into {coarse[parents[child]]!r} and into "
                f"{coarse[parent]!r}; get it again"
            )
    if missing := [name for i, name in enumerate(fine) if i not in parents]:
        raise DataError(f"{files.origin} holds no image of {missing[0]!r}; get it again")
    return Taxonomy((tuple(fine), tuple(coarse)), tuple((parents[i],) for i in range(len(fine))))
