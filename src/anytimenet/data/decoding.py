"""Many images decoded into one array."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images import ImageLike, as_array, fit, fit_shorter_side, open_image, with_channels
from anytimenet.data.options import DataOptions

_CHUNK = 256  # images that a thread takes at a time
_NAMED = 20  # bad images that a message names
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Decoded:
    """Decoded images of a list of sources.

    Attributes:
        images: uint8 `(N, H, W, C)`, of the sources that could be read, in order.
        good: int64 `(N,)`, their positions in the list.
        bad: name and reason of each source that could not be read.
    """

    images: np.ndarray
    good: np.ndarray
    bad: tuple[tuple[str, str], ...]

    def check(self, *, skip_bad: bool) -> None:
        """Raises DataError if something is bad and may not be skipped, or nothing is left."""
        if not self.bad:
            return
        more = f"; and {len(self.bad) - _NAMED} more" if len(self.bad) > _NAMED else ""
        what = f"{len(self.bad)} of {len(self.bad) + len(self.good)} images cannot be used: "
        what += "; ".join(reason for _, reason in self.bad[:_NAMED]) + more
        if not len(self.good):
            raise DataError(f"{what}; none is left")
        if not skip_bad:
            raise DataError(f"{what}; remove or replace them, or leave them out with skip_bad=True")
        _log.warning("%s; they are left out", what)


def decode_all(
    read: Callable[[int], ImageLike],
    names: Sequence[str],
    options: DataOptions,
    *,
    threads: int | None = None,
) -> Decoded:
    """Decodes `read(0) .. read(len(names) - 1)` as `options` says.

    Args:
        read: gives the image or path at a position; called from several threads unless `threads` is 1.
            What it raises itself ends the decoding; an image that cannot be decoded is noted as bad.

    Raises:
        DataError: if images differ in size and `options.image_size` is None.
    """

    def decode(index: int) -> np.ndarray | str:
        source = read(index)
        try:
            return decode_one(source, options)
        except DataError as error:
            return str(error) if names[index] in str(error) else f"{names[index]}: {error}"

    threads = threads or available_cores()
    if threads == 1:
        return _collect(map(decode, range(len(names))), names, options)
    chunks = [range(len(names))[start : start + _CHUNK] for start in range(0, len(names), _CHUNK)]
    pool = ThreadPoolExecutor(threads)
    try:
        decoded = pool.map(lambda chunk: [decode(i) for i in chunk], chunks)
        return _collect((item for chunk in decoded for item in chunk), names, options)
    finally:
        pool.shutdown(cancel_futures=True)  # after an error nothing more is read


def available_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def decode_one(source: ImageLike, options: DataOptions) -> np.ndarray:
    """One image as `options` says: uint8 `(H, W, C)`, grey images with one channel.

    Raises:
        DataError: if it cannot be read.
    """
    image = open_image(source)
    if options.channels == 1:
        image = with_channels(image, 1)
    if options.size is not None and options.shorter_side is not None:
        image = fit_shorter_side(image, options.shorter_side, *options.size, options.resample)
    elif options.size is not None:
        image = fit(image, *options.size, options.resample)
    return as_array(image)


def _collect(decoded: Iterable[np.ndarray | str], names: Sequence[str], options: DataOptions) -> Decoded:
    """Grey images stay one channel until the first colour image; then all get three."""
    images = np.empty((0, 0, 0, 0), np.uint8)
    good: list[int] = []
    bad: list[tuple[str, str]] = []
    for index, item in enumerate(decoded):
        if isinstance(item, str):
            bad.append((names[index], item))
            continue
        if not good:
            images = _room(len(names), *item.shape[:2], options.channels or item.shape[2])
        if item.shape[:2] != images.shape[1:3]:
            raise DataError(_sizes_differ(names[good[0]], images.shape[1:3], names[index], item.shape[:2]))
        if item.shape[2] > images.shape[3]:
            images = np.repeat(images, 3, axis=3)
        images[len(good)] = item
        good.append(index)
    return Decoded(images[: len(good)], np.array(good, dtype=np.int64), tuple(bad))


def _room(*shape: int) -> np.ndarray:
    try:
        return np.empty(shape, np.uint8)
    except MemoryError as error:
        size = f"{shape[0]} images of {shape[2]}x{shape[1]} pixels"
        raise DataError(f"{size} do not fit into memory; choose a smaller image_size=N") from error


def _sizes_differ(first: str, first_size: Sequence[int], other: str, other_size: Sequence[int]) -> str:
    return (
        f"images differ in size: {first} is {first_size[1]}x{first_size[0]}, {other} is "
        f"{other_size[1]}x{other_size[0]} (width x height); choose a size with image_size=N"
    )
