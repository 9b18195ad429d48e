"""Any map-style dataset from Python: something with a length whose items are (image, label)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.data.reading.decoding import decode_all
from anytimenet.data.sets.class_names import numbered, relabel
from anytimenet.data.sets.image_set import ImageSet
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import DataSplits, make_splits
from anytimenet.data.sources.item_labels import LabelTable
from anytimenet.data.sources.item_reader import ItemReader


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
    uint8, or float with values in 0..1. A label is an int, or a tuple of ints, one per level, fine first; a
    one-hot row is read as its class, which is said. Where datasets have names (`classes`, also of what a
    torch `Subset` or `ConcatDataset` wraps), labels of `val` and `test` are matched to those of `train` by
    name.

    A few items are read again: where they have changed, as random transforms make them, a warning says so.

    Args:
        val, test: drawn out of `train` where they are None; see `DataOptions`.
        class_names: names of the classes, or one list of names per level; None takes those of `train`, else
            the numbers. Where they are the names of `train` in another order, its labels follow.
        taxonomy: the tree of classes; `options.all_levels` then makes labels of every level.

    Raises:
        DataError: if a dataset has no length, an image or a label cannot be used, or `val` or `test` has a
            class that `train` does not name.

    >>> items = [(np.full((8, 8), 20 * i, np.uint8), i % 2) for i in range(10)]
    >>> splits = splits_from_datasets(items, class_names=["even", "odd"])
    >>> len(splits.train), len(splits.val), len(splits.test)
    (6, 1, 3)
    """
    options = options or DataOptions()
    given = {"train": train, "val": val, "test": test}
    read = {part: ItemReader(part, dataset) for part, dataset in given.items() if dataset is not None}
    places = [(reader, i) for reader in read.values() for i in range(len(reader))]
    decoded = decode_all(
        lambda i: places[i][0].image(places[i][1]),
        [f"{reader.part}[{i}]" for reader, i in places],
        options,
        threads=1,  # a dataset need not bear several threads
    )
    decoded.check(skip_bad=options.skip_bad)
    levels = _given_levels(class_names)
    parts: dict[str, ImageSet] = {}
    tables: dict[str, LabelTable] = {}
    start = 0
    for part, reader in read.items():
        reader.check_fixed(options)
        chosen = slice(*np.searchsorted(decoded.good, [start, start + len(reader)]).tolist())  # no copy
        indices = decoded.good[chosen] - start
        tables[part] = reader.labels(indices, _level_counts(levels, taxonomy, tables.get("train")))
        parts[part] = reader.image_set(decoded.images[chosen], indices, tables[part].labels)
        start += len(reader)
    if levels is None and taxonomy is not None:
        levels = [list(names) for names in taxonomy.levels[: tables["train"].labels.shape[1]]]
    parts = _in_one_order(read, parts, None if levels is None else levels[0])
    names = _class_names(read["train"], levels, parts, tables["train"].width)
    return make_splits(name, parts, names, options, taxonomy=taxonomy, skipped=len(decoded.bad))


def read_dataset(
    dataset: Any,
    options: DataOptions | None = None,
    *,
    name: str = "data",
    class_names: Sequence[Sequence[str]] | None = None,
) -> ImageSet:
    """All items of one map-style dataset, as `splits_from_datasets` reads them.

    Args:
        class_names: the classes to label by, one list for each level, of a bundle for example: labels of a
            dataset with names are matched to the fine ones by name, as `class_names.relabel` does.

    Raises:
        DataError: if it has no length, an image or a label cannot be used, or `class_names` lacks a class
            that an item has.

    >>> len(read_dataset([(np.zeros((8, 8), np.uint8), 1)] * 3))
    3
    """
    options = options or DataOptions()
    reader = ItemReader(name, dataset)
    decoded = decode_all(reader.image, [f"{name}[{i}]" for i in range(len(reader))], options, threads=1)
    decoded.check(skip_bad=options.skip_bad)
    reader.check_fixed(options)
    levels = None if class_names is None else range(1, len(class_names) + 1)
    table = reader.labels(decoded.good, levels)
    if class_names is not None and table.width not in (None, len(class_names[0])):
        raise DataError(
            f"{name} has one-hot labels of {table.width} classes, and {len(class_names[0])} are known: give "
            "rows of that width, or class numbers"
        )
    images = reader.image_set(decoded.images, decoded.good, table.labels)
    if class_names is None or reader.naming is None:
        return images
    return relabel(images, reader.naming.names, class_names[0], name)


def _given_levels(given: Sequence[str] | Sequence[Sequence[str]] | None) -> list[list[str]] | None:
    if given is None:
        return None
    if not len(given):
        raise DataError("class_names is empty: give the name of each class, or leave it out")
    if isinstance(given[0], str):
        return [[str(name) for name in given]]
    return [[str(name) for name in level] for level in given]


def _level_counts(
    levels: list[list[str]] | None, taxonomy: Taxonomy | None, train: LabelTable | None
) -> set[int] | None:
    """How many levels labels may have; None where rows alone can say it."""
    if train is not None:
        return {train.labels.shape[1]}
    if levels is not None:
        return {len(levels)}
    return None if taxonomy is None else set(range(1, len(taxonomy.levels) + 1))


def _in_one_order(
    read: dict[str, ItemReader], parts: dict[str, ImageSet], wanted: list[str] | None
) -> dict[str, ImageSet]:
    """The parts with labels by the classes of `train`, and those by `wanted` if it has the same names."""
    if len({part.labels.shape[1] for part in parts.values()}) > 1:
        raise DataError("train, val and test have labels of different numbers of levels; give each the same")
    own = read["train"].naming
    first = wanted if own is None else own.names
    if first is None:
        return parts
    for part, reader in read.items():
        if part != "train" and reader.naming is not None:
            parts[part] = relabel(parts[part], reader.naming.names, first, part)
    if own is None or wanted is None or not set(own.names) <= set(wanted):
        return parts  # other names for the same classes
    return {part: relabel(images, own.names, wanted, part) for part, images in parts.items()}


def _class_names(
    train: ItemReader, levels: list[list[str]] | None, parts: dict[str, ImageSet], width: int | None
) -> list[list[str]]:
    """Names of the classes of each level that the labels have."""
    num_levels = parts["train"].labels.shape[1]
    highest = np.max([part.labels.max(axis=0) for part in parts.values()], axis=0).tolist()
    if width is not None:
        highest = [max(width - 1, *highest)]
    if levels is None and num_levels == 1 and train.naming is not None:
        levels = [list(train.naming.names)]
    if levels is None:
        levels = [list(numbered(top + 1)) for top in highest]
    if len(levels) != num_levels or any(len(n) <= top for n, top in zip(levels, highest, strict=True)):
        raise DataError(
            f"labels have {num_levels} levels with ids up to {highest}, but there are names for "
            f"{[len(names) for names in levels]} classes; give one list of names per level"
        )
    return levels
