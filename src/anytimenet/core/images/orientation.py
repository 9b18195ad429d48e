"""How a picture was held, from the settings that a camera wrote: one number, and nothing else is read."""

from __future__ import annotations

import re

_TAG = 0x0112
_SIZES = {1: 1, 3: 2, 4: 4}  # bytes of the whole numbers that it may be written as
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def orientation_of_exif(exif: bytes) -> int | None:
    """1 to 8 of a block of EXIF; None if it does not say.

    >>> orientation_of_exif(b"II*\\0\\x08\\0\\0\\0\\x01\\0\\x12\\x01\\x03\\0\\x01\\0\\0\\0\\x06\\0\\0\\0")
    6
    """
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    order = {b"II": "little", b"MM": "big"}.get(exif[:2])
    if order is None:
        return None

    def read(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], "little" if order == "little" else "big")

    index = read(4, 4)
    for at in range(index + 2, index + 2 + 12 * read(index, 2), 12):
        if at + 12 > len(exif):
            break
        if read(at, 2) == _TAG:
            value = read(at + 8, _SIZES.get(read(at + 2, 2), 0))
            return value if 1 <= value <= 8 else None
    return None


def orientation_of_xmp(xmp: bytes) -> int:
    """1 to 8 of a block of XMP; 1 if it does not say."""
    found = _XMP.search(xmp)
    value = int(found[1]) if found else 1
    return value if 1 <= value <= 8 else 1
