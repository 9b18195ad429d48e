"""Items (image, label) of one map-style dataset."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images.decoding import ImageLike, tensor_pixels
from anytimenet.data.reading.decoding import decode_one
from anytimenet.data.sets.class_names import Naming, naming_of
from anytimenet.data.sets.image_set import ImageSet
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sources.item_labels import LabelTable, Row, label_row, label_table

_READ_TWICE = 8
"""Items that are looked at again: a flip of one in two shows in 255 of 256 runs."""

_log = logging.getLogger(__name__)


class ItemReader:
    """Reads the items of a dataset: each image is handed on, its label kept.

    Args:
        part: what the dataset is called in messages and in the names of its images.

    Raises:
        DataError: if the dataset has no length or no items.
    """

    def __init__(self, part: str, dataset: Any) -> None:
        self.part = part
        self.dataset = dataset
        self._rows: dict[int, Row] = {}
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise DataError(
                f"{part} must have a length and items by position, which {type(dataset).__name__} lacks; "
                "turn an iterable into a list"
            )
        if not len(dataset):
            raise DataError(f"{part} is empty; leave it out or add items")
        self.naming: Naming | None = naming_of(dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def image(self, index: int) -> ImageLike:
        """The image of an item; its label is remembered."""
        image, row = self._item(index)
        self._rows[index] = row
        return image

    def check_fixed(self, options: DataOptions) -> None:
        """Warns if items are others when they are read again, for they stay as they were the first time."""
        for index in np.linspace(0, len(self) - 1, min(_READ_TWICE, len(self))).astype(int).tolist():
            (once, row), (again, other_row) = self._item(index), self._item(index)
            if row != other_row or not _same(once, again, options):
                _log.warning(
                    "%s[%d] is another when it is read again, as random transforms make it: every item is "
                    "read once and would be the same in all epochs, so take the random transforms out of the "
                    "dataset and give augmentation=Augmentation(...) to fit",
                    self.part,
                    index,
                )
                return

    def labels(self, indices: np.ndarray, level_counts: Collection[int] | None = None) -> LabelTable:
        """The labels of the items at `indices`, by the names that the dataset has; see `label_table`.

        Raises:
            DataError: for labels that make no table, or classes that parts of the dataset number differently.
        """
        if not len(indices):
            raise DataError(f"no image of {self.part} can be read")
        table = label_table([self._rows[int(i)] for i in indices], self.part, level_counts)
        if self.naming is None:
            return table
        fine = table.labels[:, 0].tolist()
        placed = [self.naming.place(i, label) for i, label in zip(indices.tolist(), fine, strict=True)]
        if placed == fine:
            return table
        if table.labels.shape[1] > 1:
            raise DataError(
                f"{self.part} joins datasets whose classes stand in different orders, with labels of several "
                "levels: give them one order"
            )
        return LabelTable(np.array(placed, dtype=np.int64)[:, None], table.width)

    def image_set(self, images: np.ndarray, indices: np.ndarray, labels: np.ndarray) -> ImageSet:
        """Images that were read, under names made of `part` and their place."""
        return ImageSet(images, labels, tuple(f"{self.part}-{i:07d}" for i in indices))

    def _item(self, index: int) -> tuple[ImageLike, Row]:
        where = f"{self.part}[{index}]"
        try:
            item = self.dataset[index]
        except Exception as error:
            error.add_note(f"while reading {where}")
            raise
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(f"{where} must be a pair (image, label), got {type(item).__name__}")
        return tensor_pixels(item[0], where), label_row(item[1], where)


def _same(once: ImageLike, again: ImageLike, options: DataOptions) -> bool:
    if once is again:
        return True
    try:
        return np.array_equal(decode_one(once, options), decode_one(again, options))
    except DataError:
        return True  # a bad image is told of elsewhere
