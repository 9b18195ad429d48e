"""Which files are images: the formats that are opened, and the suffixes that people give them.

Pillow knows some forty formats more. Each is code that a stranger's file could reach, and one of them (EPS)
starts another program; so only these are opened, whatever a file is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike

from PIL import Image, UnidentifiedImageError

from anytimenet.core.errors import DataError
from anytimenet.core.regular_files import open_regular

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


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image: by its suffix in any case, unless it is hidden.

    >>> is_image_name("cat.JPG"), is_image_name("cat.eps"), is_image_name("._cat.jpg")
    (True, False, False)
    """
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


@contextmanager
def opened_image(path: str | PathLike[str]) -> Iterator[Image.Image]:
    """The image file at `path`, its pixels not read yet: the one place that opens image files.

    Raises:
        OSError: if there is no regular file.
        DataError: if its content is of no format in `IMAGE_FORMATS`.
        Exception: nearly any, from Pillow, for a damaged file.
    """
    with open_regular(path) as file:
        try:
            image = Image.open(file, formats=tuple(IMAGE_FORMATS))
        except UnidentifiedImageError:
            known = ", ".join(IMAGE_FORMATS)
            raise DataError(f"it cannot be read as an image: its content is none of {known}") from None
        with image:
            yield image
