"""Many images decoded into one array."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images.decoding import (
    ImageLike,
    as_array,
    fit,
    open_image,
    with_channels,
)
from anytimenet.data.sets.options import DataOptions

T = TypeVar("T")

_CHUNK = 32  # images that a thread takes at a time, at most
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
        check_bad(self.bad, len(self.good), skip_bad=skip_bad)


def check_bad(bad: Sequence[tuple[str, str]], good: int, *, skip_bad: bool) -> None:
    """Raises DataError if there are bad images that may not be skipped, or no good ones; warns of others.

    Args:
        bad: name and reason of each.
        good: how many are not.
    """
    if not bad:
        return
    more = f"; and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
    what = f"{len(bad)} of {len(bad) + good} images cannot be used: "
    what += "; ".join(reason for _, reason in bad[:_NAMED]) + more
    if not good:
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

    return _collect(in_order(decode, len(names), threads or available_cores()), names, options)


def in_order(make: Callable[[int], T], count: int, threads: int) -> Iterator[T]:
    """`make(0) .. make(count - 1)` from several threads; only a few results wait for whoever takes them."""
    if threads == 1:
        yield from map(make, range(count))
        return
    size = min(_CHUNK, max(1, count // (16 * threads)))
    pool, waiting = ThreadPoolExecutor(threads), deque[Future[list[T]]]()
    try:
        for start in range(0, count, size):
            chunk = range(start, min(start + size, count))
            waiting.append(pool.submit(lambda chunk: [make(i) for i in chunk], chunk))
            if len(waiting) > threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
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
    if options.size is not None:
        image = fit(image, *options.size, options.resample, options.shorter_side)
    return as_array(image)


def _collect(decoded: Iterable[np.ndarray | str], names: Sequence[str], options: DataOptions) -> Decoded:
    """Grey images stay one channel until the first colour image; then all get three."""
    room = _Room(len(names), options.channels)
    good: list[int] = []
    bad: list[tuple[str, str]] = []
    for index, item in enumerate(decoded):
        if isinstance(item, str):
            bad.append((names[index], item))
            continue
        if good and item.shape[:2] != room.shape[:2]:
            raise DataError(sizes_differ(names[good[0]], room.shape, names[index], item.shape))
        room.add(item)
        good.append(index)
    return Decoded(room.images(), np.array(good, dtype=np.int64), tuple(bad))


class _Room:
    """Memory for decoded images that is taken once, even where grey images become colour ones halfway."""

    def __init__(self, most: int, channels: int | None) -> None:
        self.most, self.count = most, 0
        self.shape: tuple[int, int, int] = (0, 0, channels or 0)
        self._bytes = np.empty(0, np.uint8)

    def add(self, image: np.ndarray) -> None:
        """Copies one more image, of the first one's height and width."""
        height, width, channels = image.shape
        if not self.count:
            self._take(height, width, self.shape[2] or channels)
        if channels > self.shape[2]:
            self._widen()
        self._rows()[self.count] = image
        self.count += 1

    def images(self) -> np.ndarray:
        """All images so far: uint8 `(N, H, W, C)`."""
        return self._rows()[: self.count]

    def _rows(self) -> np.ndarray:
        return self._bytes.reshape(self.most if self._bytes.size else 0, *self.shape)

    def _take(self, height: int, width: int, channels: int) -> None:
        self.shape = (height, width, channels)
        try:
            self._bytes.resize(self.most * height * width * channels, refcheck=False)
        except MemoryError as error:
            size = f"{self.most} images of {width}x{height} pixels"
            raise DataError(f"{size} do not fit into memory; choose a smaller image_size=N") from error

    def _widen(self) -> None:
        """Three equal channels in place of one, from the last image on, within the same memory."""
        height, width, _ = self.shape
        grey = height * width
        self._take(height, width, 3)
        for i in reversed(range(self.count)):
            pixels = np.repeat(self._bytes[i * grey : (i + 1) * grey], 3)
            self._bytes[3 * i * grey : 3 * (i + 1) * grey] = pixels


def sizes_differ(first: str, first_size: Sequence[int], other: str, other_size: Sequence[int]) -> str:
    """A message about two images whose sizes `(H, W)` differ and none was chosen."""
    return (
        f"images differ in size: {first} is {first_size[1]}x{first_size[0]}, {other} is "
        f"{other_size[1]}x{other_size[0]} (width x height); choose a size with image_size=N"
    )
