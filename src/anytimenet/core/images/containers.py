"""An image file cut down to what its pixels need, before a decoder sees it.

A file of a few kilobytes can hold comments, profiles, thumbnails and camera settings that unfold to gigabytes
or are read in quadratic time, thousands of frames, or thousands of passes over one picture. Of all that only
the orientation matters here. So the file is walked in a few steps, what says how the pixels are stored is
kept, and the rest is left out; a damaged file is passed on as far as it goes, and the decoder says what is
wrong.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from anytimenet.core.errors import DataError
from anytimenet.core.images.orientation import orientation_of_exif, orientation_of_xmp
from anytimenet.core.images.tiff_index import with_plain_index

MOST_PIXELS = 89_478_485
"""Of one image, before and after it is resized: what Pillow, too, takes without a warning."""

_MOST_PASSES = 12
"""Pixels that all passes (scans) of a JPEG visit may be this many times `MOST_PIXELS`."""

_MOST_PACKED_BMP = 2**22
_MOST_XMP = 2**20
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_LEFT_OUT = {*range(0xE1, 0xEE), 0xEF, 0xFE}  # all applications' but JFIF's and Adobe's, and comments


@dataclass(frozen=True)
class Container:
    """What is left of a file.

    Attributes:
        content: bytes for a decoder.
        orientation: 1 to 8 as in EXIF; 1 is upright.
    """

    content: bytes
    orientation: int = 1


def cut_down(content: bytes) -> Container:
    """The image file `content` without what no pixel needs; of unknown formats all of it.

    Raises:
        DataError: if it would take more memory or time than an image may.
    """
    for start, reduce in _REDUCERS:
        if content.startswith(start):
            return reduce(content)
    return Container(content)


def check_pixels(width: int, height: int, most: int = MOST_PIXELS) -> None:
    """Raises DataError for an image of more pixels than are decoded."""
    if width * height > most:
        raise DataError(
            f"it has {width}x{height} pixels, and at most {most:,} are read: make it smaller, or leave it out"
        )


def _jpeg(content: bytes) -> Container:
    kept, at, pixels, scans = [content[:2]], 2, 0, 0
    orientation: int | None = None
    xmp = b""
    while found := _JPEG_MARKER.search(content, at):
        begin, marker = found.start(), content[found.start() + 1]
        if scans:
            kept.append(content[at:begin])  # the coded pixels of a scan
        if marker == 0xD9:
            kept.append(content[begin : begin + 2])
            break
        end = begin + 2
        if not (marker == 0x01 or marker == 0xD8):
            end += max(2, int.from_bytes(content[end : end + 2], "big"))
        segment, at = content[begin:end], end
        if marker == 0xE1 and orientation is None and segment[4:10] == b"Exif\0\0":
            orientation = orientation_of_exif(segment[10:])
        elif marker == 0xE1 and segment[4:].startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = xmp or segment
        if marker in _JPEG_SIZES and len(segment) >= 9:
            height, width = int.from_bytes(segment[5:7], "big"), int.from_bytes(segment[7:9], "big")
            check_pixels(width, height)
            pixels = width * height
        elif marker == 0xDA:
            scans += 1
            if scans * pixels > _MOST_PASSES * MOST_PIXELS and scans > 1:
                raise DataError(f"it goes over its {pixels:,} pixels {scans} times or more: save it again")
        if marker not in _JPEG_LEFT_OUT:
            kept.append(segment)
    else:
        kept.append(content[at:])
    return Container(b"".join(kept), orientation or orientation_of_xmp(xmp))


def _png(content: bytes) -> Container:
    kept, at = [content[:8]], 8
    exif, xmp = b"", b""
    while at < len(content):
        length, name = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        chunk = content[at : at + 12 + length]
        at += 12 + length
        if name == b"IHDR" and length >= 8:
            check_pixels(int.from_bytes(chunk[8:12], "big"), int.from_bytes(chunk[12:16], "big"))
        elif name == b"eXIf":
            exif = exif or chunk[8:-4]
        elif name in (b"tEXt", b"zTXt", b"iTXt"):
            exif, xmp = exif or _exif_in_text(chunk[8:-4], name), xmp or _xmp_in_text(chunk[8:-4], name)
        if name in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(chunk)
        if name == b"IEND":
            break
    return Container(b"".join(kept), orientation_of_exif(exif) or orientation_of_xmp(xmp))


def _xmp_in_text(text: bytes, kind: bytes) -> bytes:
    keyword, _, rest = text.partition(b"\0")
    if kind != b"iTXt" or keyword != b"XML:com.adobe.xmp" or len(rest) < 2:
        return b""
    packed, rest = rest[0], rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return _inflated(rest) if packed else rest


def _exif_in_text(text: bytes, kind: bytes) -> bytes:
    """Older programs write camera settings as hexadecimal digits below three lines of a heading."""
    keyword, _, rest = text.partition(b"\0")
    if keyword != b"Raw profile type exif" or kind == b"iTXt":
        return b""
    digits = b"".join((_inflated(rest[1:]) if kind == b"zTXt" else rest).split(b"\n")[3:])
    try:
        return bytes.fromhex(digits.decode("ascii"))
    except ValueError:
        return b""


def _inflated(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, _MOST_XMP)
    except zlib.error:
        return b""


def _gif(content: bytes) -> Container:
    """The first frame and what is said of its colours."""
    width, height = _little(content, 6, 2), _little(content, 8, 2)
    at = 13 + _colours(content, 10)
    kept, control = [content[:at]], b""
    while at < len(content) and content[at] != 0x3B:
        begin = at
        if content[at] == 0x21:
            at = _after_blocks(content, at + 2)
            if content[begin + 1 : begin + 2] == b"\xf9":
                control = content[begin:at]
        elif content[at] == 0x2C:
            check_pixels(
                max(width, _little(content, at + 1, 2) + _little(content, at + 5, 2)),
                max(height, _little(content, at + 3, 2) + _little(content, at + 7, 2)),
            )
            at = _after_blocks(content, at + 11 + _colours(content, at + 9))
            kept += [control, content[begin:at], b";"]
            break
        else:
            at += 1
    return Container(b"".join(kept))


def _colours(content: bytes, at: int) -> int:
    """Bytes of the table of colours that the flags at `at` announce."""
    flags = content[at] if at < len(content) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_blocks(content: bytes, at: int) -> int:
    while at < len(content) and content[at]:
        at += 1 + content[at]
    return at + 1


def _webp(content: bytes) -> Container:
    """As it is: nothing but the size is looked at before a decoder makes room for a whole canvas, twice."""
    at, exif, xmp = 12, b"", b""
    while at + 8 <= len(content):
        name, length = content[at : at + 4], _little(content, at + 4, 4)
        body = at + 8
        if name == b"VP8X":
            _check_canvas(1 + _little(content, body + 4, 3), 1 + _little(content, body + 7, 3))
        elif name == b"VP8L":
            bits = _little(content, body + 1, 4)
            _check_canvas(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
        elif name == b"VP8 ":
            _check_canvas(_little(content, body + 6, 2) & 0x3FFF, _little(content, body + 8, 2) & 0x3FFF)
        elif name == b"EXIF":
            exif = exif or content[body : body + length]
        elif name == b"XMP ":
            xmp = xmp or content[body : body + length]
        at = body + length + length % 2
    return Container(content, orientation_of_exif(exif) or orientation_of_xmp(xmp))


def _check_canvas(width: int, height: int) -> None:
    check_pixels(width, height, MOST_PIXELS // 2)  # the decoder keeps two pictures


def _tiff(content: bytes) -> Container:
    plain, orientation = with_plain_index(content)
    return Container(plain, orientation)


def _bmp(content: bytes) -> Container:
    """As it is. Packed rows are unpacked slowly, byte by byte, and may skip 255 lines at once."""
    if _little(content, 14, 4) >= 40 and _little(content, 30, 4) in (1, 2):
        width, height = _little(content, 18, 4), _little(content, 22, 4)
        height = min(height, 2**32 - height)  # negative where the first row is the upper one
        check_pixels(width, height, _MOST_PACKED_BMP)
    return Container(content)


def _little(content: bytes, at: int, size: int) -> int:
    return int.from_bytes(content[at : at + size], "little")


_REDUCERS: tuple[tuple[bytes, Callable[[bytes], Container]], ...] = (
    (b"\xff\xd8", _jpeg),
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"GIF8", _gif),
    (b"RIFF", _webp),
    (b"II", _tiff),
    (b"MM", _tiff),
    (b"BM", _bmp),
)
