"""Which files are images: the formats that are opened, and the suffixes that people give them.

Pillow knows some forty formats more. Each is code that a stranger's file could reach, and one of them (EPS)
starts another program; so only these are opened, whatever a file is called.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike

from PIL import Image, UnidentifiedImageError

from anytimenet.core.files.regular import read_regular
from anytimenet.core.images.containers import check_pixels, cut_down

IMAGE_FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
"""Pillow's name of each format that is opened, with its suffixes; of moving pictures the first is taken."""

IMAGE_SUFFIXES = tuple(suffix for suffixes in IMAGE_FORMATS.values() for suffix in suffixes)
"""Lower-case endings of the files that are taken for images in a folder."""

_MOST_BYTES = 2**30
"""Of an image file: the largest image with 16 bits a channel fits in without being packed."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image: by its suffix in any case, unless it is hidden.

    >>> is_image_name("cat.JPG"), is_image_name("cat.eps"), is_image_name("._cat.jpg")
    (True, False, False)
    """
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """An image file whose pixels are not read yet.

    Attributes:
        picture: as it is stored.
        orientation: how it was held, 1 to 8 as in EXIF; 1 is upright.
    """

    picture: Image.Image
    orientation: int

    @property
    def lying(self) -> bool:
        """Whether width and height change places when the picture is turned upright."""
        return self.orientation >= 5

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the picture upright."""
        size = self.picture.size
        return size[::-1] if self.lying else size

    def upright(self) -> Image.Image:
        """The picture decoded and turned upright."""
        turn = _TURNS.get(self.orientation)
        self.picture.load()
        return self.picture if turn is None else self.picture.transpose(turn)


@contextmanager
def opened_image(path: str | PathLike[str]) -> Iterator[OpenedImage]:
    """The image file at `path`, its pixels not read yet.

    Raises:
        OSError: if there is no regular file, or its content is of no format in `IMAGE_FORMATS`.
        DataError: if it asks for more memory or time than an image may.
        Exception: nearly any, from Pillow, for a damaged file.
    """
    with opened_content(read_regular(path, _MOST_BYTES)) as opened:
        yield opened


@contextmanager
def opened_content(content: bytes) -> Iterator[OpenedImage]:
    """The image file of this content, its pixels not read yet: the one place that opens image files.

    Raises:
        OSError, DataError, Exception: as `opened_image`.
    """
    container = cut_down(content)
    try:
        picture = Image.open(io.BytesIO(container.content), formats=tuple(IMAGE_FORMATS))
    except UnidentifiedImageError:
        known = ", ".join(IMAGE_FORMATS)
        raise UnidentifiedImageError(f"its content is none of {known}") from None
    with picture:
        check_pixels(*picture.size)
        yield OpenedImage(picture, container.orientation)
