"""Any map-style dataset from Python: something with a length whose items are (image, label)."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images import ImageLike, tensor_pixels
from anytimenet.core.taxonomy import Taxonomy
from anytimenet.data.decoding import decode_all
from anytimenet.data.image_set import ImageSet
from anytimenet.data.options import DataOptions
from anytimenet.data.splits import DataSplits, make_splits


def splits_from_datasets(
    train: Any,
    val: Any = None,
    test: Any = None,
    *,
    class_names: Sequence[str] | Sequence[Sequence[str]] | None = None,
    taxonomy: Taxonomy | None = None,
    options: DataOptions | None = None,
    name: str = "datasets",
) -> DataSplits:
    """Reads every item of map-style datasets once and splits them like any other data.

    An image is a PIL image, a uint8 array `(H, W)` or `(H, W, C)`, or a tensor `(H, W)` or `(C, H, W)`:
    uint8, or float with values in 0..1. A label is an int, or a tuple of ints, one per level, fine first.

    Args:
        val, test: drawn out of `train` where they are None; see `DataOptions`.
        class_names: names of the classes, or one list of names per level; None takes `train.classes` if
            there is one, else the numbers.
        taxonomy: the tree of classes; `options.all_levels` then makes labels of every level.

    Raises:
        DataError: if a dataset has no length, or an image or a label cannot be used.

    >>> items = [(np.full((8, 8), 20 * i, np.uint8), i % 2) for i in range(10)]
    >>> splits = splits_from_datasets(items, class_names=["even", "odd"])
    >>> len(splits.train), len(splits.val), len(splits.test)
    (6, 1, 3)
    """
    options = options or DataOptions()
    given = {"train": train, "val": val, "test": test}
    read = {part: _Reader(part, dataset) for part, dataset in given.items() if dataset is not None}
    places = [(reader, i) for reader in read.values() for i in range(len(reader))]
    decoded = decode_all(
        lambda i: places[i][0].image(places[i][1]),
        [f"{reader.part}[{i}]" for reader, i in places],
        options,
        threads=1,  # a dataset need not bear several threads
    )
    decoded.check(skip_bad=options.skip_bad)
    parts, start = {}, 0
    for part, reader in read.items():
        chosen = np.flatnonzero((start <= decoded.good) & (decoded.good < start + len(reader)))
        parts[part] = reader.image_set(decoded.images[chosen], decoded.good[chosen] - start)
        start += len(reader)
    names = _class_names(train, class_names, taxonomy, parts)
    return make_splits(name, parts, names, options, taxonomy=taxonomy, skipped=len(decoded.bad))


def read_dataset(dataset: Any, options: DataOptions | None = None, *, name: str = "data") -> ImageSet:
    """All items of one map-style dataset, as `splits_from_datasets` reads them.

    Raises:
        DataError: if it has no length, or an image or a label cannot be used.

    >>> len(read_dataset([(np.zeros((8, 8), np.uint8), 1)] * 3))
    3
    """
    options = options or DataOptions()
    reader = _Reader(name, dataset)
    decoded = decode_all(reader.image, [f"{name}[{i}]" for i in range(len(reader))], options, threads=1)
    decoded.check(skip_bad=options.skip_bad)
    return reader.image_set(decoded.images, decoded.good)


class _Reader:
    """Reads each item of a dataset once: the image is handed on, the label kept."""

    def __init__(self, part: str, dataset: Any) -> None:
        self.part = part
        self.dataset = dataset
        self.labels: dict[int, tuple[int, ...]] = {}
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise DataError(
                f"{part} must have a length and items by position, which {type(dataset).__name__} lacks; "
                "turn an iterable into a list"
            )
        if not len(dataset):
            raise DataError(f"{part} is empty; leave it out or add items")

    def __len__(self) -> int:
        return len(self.dataset)

    def image(self, index: int) -> ImageLike:
        where = f"{self.part}[{index}]"
        try:
            item = self.dataset[index]
        except Exception as error:
            error.add_note(f"while reading {where}")
            raise
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"{where} must be a pair (image, label), got {type(item).__name__}")
        self.labels[index] = _label(item[1], where)
        return tensor_pixels(item[0], where)

    def image_set(self, images: np.ndarray, indices: np.ndarray) -> ImageSet:
        if not len(indices):
            raise DataError(f"no image of {self.part} can be read")
        labels = [self.labels[int(i)] for i in indices]
        if len({len(row) for row in labels}) > 1:
            raise DataError(f"labels of {self.part} have different numbers of levels; give each the same")
        table = np.array(labels, dtype=np.int64).reshape(len(labels), -1)
        return ImageSet(images, table, tuple(f"{self.part}-{i:07d}" for i in indices))


def _label(label: Any, where: str) -> tuple[int, ...]:
    try:
        ids = tuple(operator.index(level) for level in _levels(label))
    except TypeError:
        ids = ()
    if not ids or min(ids) < 0:
        raise DataError(f"{where}: a label is an int from 0 or a tuple of them, one per level, got {label!r}")
    return ids


def _levels(label: Any) -> Sequence[Any]:
    try:
        return (operator.index(label),)
    except TypeError:
        return tuple(label)


def _class_names(
    train: Any,
    given: Sequence[str] | Sequence[Sequence[str]] | None,
    taxonomy: Taxonomy | None,
    parts: dict[str, ImageSet],
) -> list[list[str]]:
    """Names of the classes of each level that the labels have."""
    num_levels = parts["train"].labels.shape[1]
    if any(part.labels.shape[1] != num_levels for part in parts.values()):
        raise DataError("train, val and test have labels of different numbers of levels; give each the same")
    highest = np.max([part.labels.max(axis=0) for part in parts.values()], axis=0).tolist()
    levels: Sequence[Sequence[str]]
    if given is not None:
        levels = [[str(name) for name in given]] if isinstance(given[0], str) else list(given)
    elif taxonomy is not None:
        levels = taxonomy.levels[:num_levels]
    elif num_levels == 1 and len(own := getattr(train, "classes", ())) > highest[0]:
        levels = [[str(name) for name in own]]
    else:
        levels = [[str(i) for i in range(top + 1)] for top in highest]
    if len(levels) != num_levels or any(len(n) <= top for n, top in zip(levels, highest, strict=True)):
        raise DataError(
            f"labels have {num_levels} levels with ids up to {highest}, but there are names for "
            f"{[len(names) for names in levels]} classes; give one list of names per level"
        )
    return [list(names) for names in levels]
