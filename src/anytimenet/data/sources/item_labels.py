"""Labels of a dataset's items as a table: one class a level, whether they came as numbers or one-hot."""

from __future__ import annotations

import logging
import operator
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from anytimenet.core.checks import shown
from anytimenet.core.errors import DataError

_log = logging.getLogger(__name__)

Row = tuple[int, ...] | tuple[float, ...]
"""The label of one item as it was given: classes of levels, or a row of floats, which must be one-hot."""


@dataclass(frozen=True, eq=False)
class LabelTable:
    """The labels of some items.

    Attributes:
        labels: int64 `(N, levels)`, fine level first.
        width: how many classes one-hot rows had room for; None where labels were class numbers.
    """

    labels: np.ndarray
    width: int | None = None


def label_row(label: Any, where: str) -> Row:
    """One label as a row: an int, a tuple of ints, or the floats of a one-hot row.

    Raises:
        DataError: for anything else; `where` names the item.

    >>> label_row(3, "train[0]"), label_row((3, 1), "train[0]"), label_row(np.float32([0, 1]), "train[0]")
    ((3,), (3, 1), (0.0, 1.0))
    """
    try:
        return (_class(operator.index(label)),)
    except (TypeError, ValueError):
        pass
    try:
        if isinstance(label, bytes | Mapping | Set):
            raise TypeError("no row, though it could be read as one")
        row = tuple(label.tolist() if hasattr(label, "tolist") else label)
        if row and all(isinstance(value, float) for value in row):
            return _one_hot_floats(row)
        if row:
            return tuple(_class(operator.index(level)) for level in row)
    except (TypeError, ValueError):
        pass
    raise DataError(
        f"{where}: a label is an int from 0, a tuple of them, one per level, or a one-hot row, "
        f"got {shown(label)}"
    )


def label_table(rows: Sequence[Row], what: str, level_counts: Collection[int] | None = None) -> LabelTable:
    """The rows as classes of levels; one-hot rows become the class of their 1, which is said.

    Args:
        what: the items, for messages.
        level_counts: how many levels labels may have, where that is known: rows of so many ints are levels,
            even if they could be one-hot.

    Raises:
        DataError: for rows of different lengths, and rows of 0 and 1 that are neither one-hot nor levels.

    >>> label_table([(0, 0, 1), (1, 0, 0)], "train").labels.tolist()
    [[2], [0]]
    """
    if len({len(row) for row in rows}) > 1:
        raise DataError(f"labels of {what} have different numbers of levels; give each the same")
    floats = any(isinstance(value, float) for value in rows[0])
    if any(isinstance(row[0], float) is not floats for row in rows):
        raise DataError(
            f"labels of {what} are class numbers in some items and one-hot in others: give one kind"
        )
    table = np.array(rows).astype(np.int64).reshape(len(rows), -1)
    width = table.shape[1]
    if not floats and (width == 1 or table.max() > 1 or width in (level_counts or ())):
        return LabelTable(table)
    if not (table.sum(axis=1) == 1).all():
        if level_counts is not None:
            known = " or ".join(map(str, sorted(level_counts)))
            raise DataError(
                f"labels of {what} are rows of {width} that are not one-hot, and different numbers of levels "
                f"({known}) are known: give class numbers, on as many levels"
            )
        raise DataError(
            f"labels of {what} are rows of {width} zeros and ones that are not one-hot: an image has one "
            "class here, given as its number. If they are classes of several levels, give class_names, one "
            "list for each level"
        )
    _log.warning(
        "labels of %s are read as one-hot rows of %d classes, the class of each is the place of its 1; if "
        "they are classes of several levels, give class_names, one list for each level",
        what,
        width,
    )
    return LabelTable(table.argmax(axis=1)[:, None], width)


def _class(number: int) -> int:
    if not 0 <= number < 2**63:
        raise ValueError("no class")
    return number


def _one_hot_floats(row: tuple[float, ...]) -> tuple[float, ...]:
    if len(row) < 2 or sorted(row) != [0.0] * (len(row) - 1) + [1.0]:
        raise ValueError("not one-hot")
    return row
