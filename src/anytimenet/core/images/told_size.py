"""What the beginning of an image file says of its size, without a decoder."""

from __future__ import annotations

_PNG = b"\x89PNG\r\n\x1a\n"
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_MOST_SEGMENTS = 64


def told_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG or JPEG file; None for other files, and where it is not told.

    The file may hold something else: what decodes it has to look again.

    >>> told_size(_PNG + bytes(8) + (640).to_bytes(4, "big") + (480).to_bytes(4, "big"))
    (640, 480)
    >>> told_size(b"GIF89a") is None
    True
    """
    if content.startswith(_PNG) and len(content) >= 24:
        return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")
    return _of_jpeg(content) if content.startswith(b"\xff\xd8") else None


def _of_jpeg(content: bytes) -> tuple[int, int] | None:
    """From segment to segment until the one that says it."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        if len(content) < at + 9 or content[at] != 0xFF:
            return None
        if content[at + 1] in _FRAMES:
            height, width = content[at + 5 : at + 7], content[at + 7 : at + 9]
            return int.from_bytes(width, "big"), int.from_bytes(height, "big")
        at += 2 + max(2, int.from_bytes(content[at + 2 : at + 4], "big"))
    return None
