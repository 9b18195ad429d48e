"""Small image files that would cost a careless reader its memory, its time or more."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def thin_png() -> bytes:
    """One pixel by 20,000, in 157 bytes: resized to cover a square before its centre is cut out."""
    return _saved(Image.new("RGB", (1, 20_000)), "PNG")


def huge_png() -> bytes:
    """A header that speaks of ten thousand million pixels."""
    return _png(_ihdr(100_000, 100_000, 8, 2), (b"IDAT", zlib.compress(b"")))


def deep_png(width: int = 9000, height: int = 9000) -> bytes:
    """16 bits a pixel, 81 million pixels of one colour in a third of a megabyte."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + 2 * width)) for _ in range(height)) + packer.flush()
    return _png(_ihdr(width, height, 16, 0), (b"IDAT", rows))


def text_png() -> bytes:
    """A hundred packed comments and a colour profile that unfold to a megabyte and more each."""
    packed = zlib.compress(bytes(2**21), 9)
    texts = [(b"zTXt", b"Comment\0\0" + packed)] * 100
    return _png(_ihdr(2, 2, 8, 0), (b"iCCP", b"x\0\0" + packed), *texts, (b"IDAT", zlib.compress(bytes(6))))


def settings_png() -> bytes:
    """Camera settings of 5,000 entries that all point to the same 400,000 bytes: two gigabytes when read."""
    return _png(_ihdr(2, 2, 8, 0), (b"eXIf", _settings(5000, 400_000)), (b"IDAT", zlib.compress(bytes(6))))


def settings_jpeg() -> bytes:
    """The same in a JPEG, spread over segments that readers join."""
    settings = _settings(5000, 400_000)
    parts = [settings[at : at + 65_000] for at in range(0, len(settings), 65_000)]
    return _with_segments(
        _saved(Image.new("RGB", (8, 8)), "JPEG"), 0xE1, [b"Exif\0\0" + part for part in parts]
    )


def pictures_jpeg() -> bytes:
    """An index of further pictures with 5,000 entries, each a list of the same 30,000 numbers."""
    index = _settings(5000, 1000, kind=3, count=500)
    return _with_segments(_saved(Image.new("RGB", (8, 8)), "JPEG"), 0xE2, [b"MPF\0" + index[:65_000]])


def passes_jpeg(scans: int = 20_000) -> bytes:
    """A JPEG of sixteen million pixels that is gone over twenty thousand times, each time for a few bytes."""
    start = _saved(Image.new("L", (16, 16)), "JPEG", progressive=True)
    size = start.index(b"\xff\xc2") + 5
    start = start[:size] + struct.pack(">HH", 4000, 4000) + start[size + 4 :]
    first = start.index(b"\xff\xda")
    one = bytes.fromhex("ffda0008010100000001") + b"\0"
    refined = bytes.fromhex("ffda0008010100013f00") + b"\0"
    return start[:first] + one + refined * scans + b"\xff\xd9"


def screen_gif() -> bytes:
    """A screen of four thousand million pixels with a frame of one."""
    small = _saved(Image.new("P", (1, 1)), "GIF")
    return small[:6] + struct.pack("<HH", 65_535, 65_535) + small[10:]


def comments_gif() -> bytes:
    """150,000 comments, which a reader appends to each other one by one."""
    small = _saved(Image.new("P", (2, 2)), "GIF")
    at = small.index(b"\x2c") if b"\x21\xf9" not in small else small.index(b"\x21\xf9")
    return small[:at] + b"\x21\xfe\x01x\x00" * 150_000 + small[at:]


def frames_gif() -> bytes:
    """20,000 frames, of which only the first is an answer."""
    first = _saved(Image.new("P", (4, 4)), "GIF")
    frame = first[first.index(b"\x2c") : -1]
    return first[:-1] + frame * 20_000 + b";"


def canvas_webp() -> bytes:
    """A canvas of 268 million pixels, for which a decoder makes room twice."""
    small = _saved(Image.new("RGB", (2, 2)), "WEBP", lossless=True)
    canvas = struct.pack("<I", 0x02) + (16_383).to_bytes(3, "little") * 2
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + canvas + small[12:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def skips_bmp() -> bytes:
    """Packed rows of 80 million pixels, of which it skips 255 at a time."""
    data = b"\x00\x02\x00\xff" * 4 + b"\x00\x01"
    head = struct.pack("<IiiHHIIiiII", 40, 80_000_000, 1, 1, 8, 1, len(data), 0, 0, 256, 0) + bytes(1024)
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(data), 0, 0, 14 + len(head)) + head + data


def entries_tiff() -> bytes:
    """An index of 60,000 entries that all point to the same 200,000 bytes: twelve gigabytes when read."""
    width, height, bits = (256, 4, 1, 2), (257, 4, 1, 2), (258, 3, 1, 8)
    many = [(tag, 7, 200_000, 8) for tag in range(1000, 61_000)]
    return _tiff([width, height, bits, *many], bytes(200_000))


def tiles_tiff() -> bytes:
    """Two pixels in a tile of four thousand million."""
    entries = [(256, 4, 1, 2), (257, 4, 1, 2), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1)]
    tile = [(322, 4, 1, 65_536), (323, 4, 1, 65_536), (324, 4, 1, 8), (325, 4, 1, 16)]
    return _tiff([*entries, *tile], zlib.compress(bytes(64)).ljust(16, b"\0"))


def strips_tiff() -> bytes:
    """60,000 strips that are all the same bytes."""
    count = 60_000
    data = zlib.compress(bytes(60_000), 9)
    lists = struct.pack(f"<{count}I", *[8] * count), struct.pack(f"<{count}I", *[len(data)] * count)
    places = 8 + len(data), 8 + len(data) + len(lists[0])
    entries = [(256, 4, 1, 1000), (257, 4, 1, count), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    strips = [(273, 4, count, places[0]), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, count, places[1])]
    return _tiff([*entries, *strips], data + b"".join(lists))


def header_ppm() -> bytes:
    """A header of ten thousand million pixels, and no pixel."""
    return b"P6 100000 100000 255\n"


def postscript_png() -> bytes:
    """A program in PostScript under a picture's name: readers hand it to another program, which runs it."""
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


IMAGES = {
    "thin.png": thin_png,
    "huge.png": huge_png,
    "deep.png": deep_png,
    "text.png": text_png,
    "settings.png": settings_png,
    "settings.jpg": settings_jpeg,
    "pictures.jpg": pictures_jpeg,
    "passes.jpg": passes_jpeg,
    "screen.gif": screen_gif,
    "comments.gif": comments_gif,
    "frames.gif": frames_gif,
    "canvas.webp": canvas_webp,
    "skips.bmp": skips_bmp,
    "entries.tif": entries_tiff,
    "tiles.tif": tiles_tiff,
    "strips.tif": strips_tiff,
    "header.ppm": header_ppm,
    "postscript.png": postscript_png,
}
"""Each file by its name; what it tries is the text of the function that makes it."""


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _png(*chunks: tuple[bytes, bytes]) -> bytes:
    whole = [b"\x89PNG\r\n\x1a\n"]
    for name, data in (*chunks, (b"IEND", b"")):
        whole += [struct.pack(">I", len(data)), name, data, struct.pack(">I", zlib.crc32(name + data))]
    return b"".join(whole)


def _ihdr(width: int, height: int, bits: int, colour: int) -> tuple[bytes, bytes]:
    return b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)


def _settings(entries: int, size: int, *, kind: int = 7, count: int | None = None) -> bytes:
    """An index in the form of EXIF whose entries all point to the `size` bytes behind it."""
    listed = [(1000 + i, kind, size if count is None else count, 10 + 12 * entries) for i in range(entries)]
    index = struct.pack("<H", entries) + b"".join(struct.pack("<HHII", *entry) for entry in listed)
    return b"II*\0" + struct.pack("<I", 8) + index + bytes(size)


def _with_segments(jpeg: bytes, marker: int, segments: list[bytes]) -> bytes:
    joined = b"".join(struct.pack(">BBH", 0xFF, marker, 2 + len(part)) + part for part in segments)
    return jpeg[:2] + joined + jpeg[2:]


def _tiff(entries: list[tuple[int, int, int, int]], data: bytes) -> bytes:
    """`data` lies at byte 8, the index behind it."""
    index = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + index + bytes(4)
