"""The index of a TIFF file written anew, with nothing but how the pixels of the first image are stored.

An index may hold 65,535 entries that all point to the same megabyte, chains of further images and folders of
settings; a reader loads all of it. What is kept here is short by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from anytimenet.core.errors import DataError

_ORIENTATION = 274
_FEW = 16
"""Values of an entry that describes the pixels: more bands than this are no picture."""
_LISTS = {
    273: 2**16,  # where strips are, and
    279: 2**16,  # how long
    324: 2**16,  # tiles likewise
    325: 2**16,
    320: 3 * 2**16,  # the palette
    347: 2**16,  # tables of a JPEG
    519: _FEW,
}
_KEPT = {
    *(256, 257, 258, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323, 332, 338, 339),
    *range(512, 522),
    *(529, 530, 531, 532, 50674),
    *_LISTS,
}
_WHOLE = {1: 1, 3: 2, 4: 4, 16: 8}
"""Bytes of the whole numbers that an entry may hold, by its kind."""
_MOST_PIECE = 2**29
"""Bytes of the pixels of one strip or tile, which a decoder unpacks at once."""


@dataclass(frozen=True)
class _Entry:
    tag: int
    kind: int
    count: int
    raw: bytes


class _Tiff:
    """Numbers of a TIFF file, which says itself how they are written."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.order: Literal["little", "big"] = "little" if content[:2] == b"II" else "big"
        self.version = self.read(2, 2)
        big = self.version == 43
        self.word, self.count_size, self.start = (8, 8, 8) if big else (4, 2, 4)

    def read(self, at: int, size: int) -> int:
        return int.from_bytes(self.content[at : at + size], self.order)

    def written(self, value: int, size: int) -> bytes:
        return value.to_bytes(size, self.order)

    def entries(self) -> Iterator[_Entry]:
        index, size = self.read(self.start, self.word), 4 + 2 * self.word
        first = index + self.count_size
        last = min(first + size * self.read(index, self.count_size), len(self.content) - size + 1)
        for at in range(first, last, size):
            raw = self.content[at : at + size]
            yield _Entry(self.read(at, 2), self.read(at + 2, 2), self.read(at + 4, self.word), raw)

    def values(self, entry: _Entry | None) -> list[int]:
        """The whole numbers of an entry; none if it holds anything else."""
        size = _WHOLE.get(entry.kind) if entry else None
        if entry is None or size is None:
            return []
        inline = entry.count * size <= self.word
        data = entry.raw[4 + self.word :]
        at = 0 if inline else int.from_bytes(data, self.order)
        data = data if inline else self.content[at : at + entry.count * size]
        return [
            int.from_bytes(data[i : i + size], self.order)
            for i in range(0, min(len(data), entry.count * size), size)
        ]


def with_plain_index(content: bytes) -> tuple[bytes, int]:
    """The file with a new index at its end, and the orientation of its image.

    Raises:
        DataError: if an entry has more values than an image needs, or the way in which its pixels are stored
            takes more memory or time than an image may.
    """
    tiff = _Tiff(content)
    if tiff.version not in (42, 43):
        return content, 1  # no TIFF, and the decoder will say so
    kept: dict[int, _Entry] = {}
    for entry in tiff.entries():
        if entry.tag in _KEPT and entry.count > _LISTS.get(entry.tag, _FEW):
            raise DataError(f"entry {entry.tag} of its index has {entry.count:,} values: save it again")
        if entry.tag in _KEPT or entry.tag == _ORIENTATION:
            kept[entry.tag] = entry
    orientation = next(iter(tiff.values(kept.pop(_ORIENTATION, None))), 1)
    _check_storage(tiff, kept)
    body = content + b"\0" * (-len(content) % 8)
    head = body[: tiff.start] + tiff.written(len(body), tiff.word)
    index = tiff.written(len(kept), tiff.count_size) + b"".join(kept[tag].raw for tag in sorted(kept))
    whole = head + body[len(head) :] + index + b"\0" * tiff.word
    return whole, orientation if 1 <= orientation <= 8 else 1


def _check_storage(tiff: _Tiff, kept: dict[int, _Entry]) -> None:
    def first(tag: int, default: int) -> int:
        return next(iter(tiff.values(kept.get(tag))), default)

    width, height, tiled = first(256, 0), first(257, 0), 322 in kept
    piece = first(322, 0) * first(323, 0) if tiled else width * min(height, first(278, height))
    if piece * first(277, 1) * first(258, 1) > 8 * _MOST_PIECE:
        raise DataError(f"it is stored in pieces of {piece:,} pixels: save it again in strips")
    lengths = tiff.values(kept.get(325 if tiled else 279))
    if sum(lengths) > 2 * len(tiff.content):
        raise DataError("its strips lie on top of each other: save it again")
    if first(259, 1) in (6, 7):
        passes = tiff.content.count(b"\xff\xda")
        if passes > 4 * max(1, len(lengths)) or any(m in tiff.content for m in (b"\xff\xc2", b"\xff\xca")):
            raise DataError("a JPEG in it goes over its pixels many times: save it again")
