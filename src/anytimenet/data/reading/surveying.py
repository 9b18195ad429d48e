"""Images that stay in files looked through once: which can be read, and the statistics of their pixels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data.reading.cache import cache_place
from anytimenet.data.reading.cache_file import read_arrays, write_arrays
from anytimenet.data.reading.decoding import available_cores, check_bad, decode_one, in_order, sizes_differ
from anytimenet.data.sets.channel_statistics import mean_and_std, preprocessing_by
from anytimenet.data.sets.image_set import ImageFiles, ImageSet
from anytimenet.data.sets.options import DataOptions


@dataclass(frozen=True, eq=False)
class Survey:
    """What was found in a list of image files, decoded as options say.

    Attributes:
        good: int64 `(N,)`, positions in the list of the files that can be read.
        bad: name and reason of each other one.
        shape: height, width and channels of the decoded images.
        sums: int64 `(N, 3)`, the sum of the values of each channel of each good image.
        squares: int64 `(N, 3)`, the sum of their squares.
    """

    good: np.ndarray
    bad: tuple[tuple[str, str], ...]
    shape: tuple[int, int, int]
    sums: np.ndarray
    squares: np.ndarray

    def preprocessing_by(
        self, names: Sequence[str], options: DataOptions
    ) -> Callable[[ImageSet | ImageFiles], Preprocessing]:
        """How images are decoded, standardised by those of a part: exactly as if they were in memory.

        Args:
            names: of the good images.
        """
        rows = {name: row for row, name in enumerate(names)}
        height, width, channels = self.shape

        def preprocessing(part: ImageSet | ImageFiles) -> Preprocessing:
            chosen = [rows[name] for name in part.names]
            total, squares = (table[chosen, :channels].sum(axis=0) for table in (self.sums, self.squares))
            own = mean_and_std(total, squares, len(chosen) * height * width)
            return preprocessing_by(own, self.shape, options)

        return preprocessing


def survey(kind: str, root: Path, listing: Sequence[tuple[Any, ...]], options: DataOptions) -> Survey:
    """Decodes every file of `listing` once, and keeps none; what was found is cached as decoded images are.

    Args:
        listing: name relative to `root` and stamp of each file.

    Raises:
        DataError: if images differ in size and `options` choose none, or one is bad and none may be skipped.
    """
    settings = f"survey {options.image_size} {options.shorter_side} {options.channels} {options.resample}"
    path, key = cache_place(f"{kind}-survey", str(root.resolve()), settings, listing, options)
    if (stored := read_arrays(path, key)) is not None:
        about, arrays = stored
        height, width, channels = arrays["shape"].tolist()
        bad = tuple((name, reason) for name, reason in json.loads(about))
        found = Survey(arrays["good"], bad, (height, width, channels), arrays["sums"], arrays["squares"])
    else:
        found = _look_through(root, [str(entry[0]) for entry in listing], options)
    check_bad(found.bad, len(found.good), skip_bad=options.skip_bad)
    if stored is None:
        arrays = {"good": found.good, "shape": np.array(found.shape, np.int64)}
        arrays |= {"sums": found.sums, "squares": found.squares}
        write_arrays(path, key, json.dumps(found.bad), arrays)
    return found


def _look_through(root: Path, names: Sequence[str], options: DataOptions) -> Survey:
    good: list[int] = []
    bad: list[tuple[str, str]] = []
    shape = (0, 0, options.channels or 1)
    sums, squares = np.zeros((2, len(names), 3), np.int64)
    for index, item in enumerate(in_order(_looker(root, names, options), len(names), available_cores())):
        if isinstance(item, str):
            bad.append((names[index], item))
            continue
        height, width, channels = item.shape
        if good and (height, width) != shape[:2]:
            raise DataError(sizes_differ(names[good[0]], shape, names[index], item.shape))
        shape = (height, width, max(shape[2], channels))
        sums[len(good)], squares[len(good)] = item.sums, item.squares
        good.append(index)
    count = len(good)
    return Survey(np.array(good, dtype=np.int64), tuple(bad), shape, sums[:count], squares[:count])


@dataclass(frozen=True, eq=False)
class _Found:
    shape: tuple[int, int, int]
    sums: np.ndarray
    squares: np.ndarray


def _looker(root: Path, names: Sequence[str], options: DataOptions) -> Callable[[int], _Found | str]:
    def look(index: int) -> _Found | str:
        try:
            pixels = decode_one(root / names[index], options)
        except DataError as error:
            return str(error)
        height, width, channels = pixels.shape
        values = pixels.reshape(-1, channels).astype(np.uint32)
        return _Found(
            (height, width, channels),
            values.sum(axis=0, dtype=np.int64),  # one channel counts for all three
            np.square(values).sum(axis=0, dtype=np.int64),
        )

    return look
