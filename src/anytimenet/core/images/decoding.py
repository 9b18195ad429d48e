"""Images as a person has them: opened upright with 8 bits a channel, resized, cropped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from os import PathLike, fspath
from typing import Any, cast

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from anytimenet.core import checks
from anytimenet.core.errors import DataError
from anytimenet.core.images.containers import MOST_PIXELS, check_pixels
from anytimenet.core.images.formats import OpenedImage, opened_content, opened_image

RESAMPLE = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
"""Names of the filters that resize an image, as Pillow calls them."""

ImageLike = Image.Image | np.ndarray | str | PathLike[str]
"""What can be opened: a PIL image, a uint8 array `(H, W)` or `(H, W, C)`, or a path."""


def open_image(
    source: ImageLike, before_decoding: Callable[[OpenedImage], None] | None = None
) -> Image.Image:
    """An upright 8-bit image in mode `L` (grey) or `RGB`, at its own size, fully decoded.

    Args:
        before_decoding: called with a file's image when its size is known and its pixels are not read yet.

    Raises:
        DataError: if it cannot be read.
    """
    if isinstance(source, Image.Image):
        check_pixels(*source.size)
        return _to_grey_or_rgb(ImageOps.exif_transpose(source))
    if isinstance(source, np.ndarray):
        return _to_grey_or_rgb(_from_array(source))
    if not isinstance(source, str | PathLike):
        raise DataError(f"an image is a PIL image, a uint8 array or a path, not {type(source).__name__}")
    with checks.raised_as(DataError):
        checks.path(source, "image")
    try:
        with opened_image(source) as opened:
            if before_decoding is not None:
                before_decoding(opened)
            return _to_grey_or_rgb(opened.upright())
    except FileNotFoundError as error:
        raise DataError(f"{fspath(source)} does not exist") from error
    except DataError as error:
        raise DataError(f"{fspath(source)}: {error}") from error
    except OSError as error:
        raise DataError(f"{fspath(source)} cannot be read as an image ({error.strerror or error})") from error
    except Exception as error:  # a damaged file makes Pillow's decoders raise nearly anything
        raise DataError(f"{fspath(source)} cannot be read as an image ({error})") from error


def open_content(content: bytes, before_decoding: Callable[[OpenedImage], None] | None = None) -> Image.Image:
    """The image file of this content as `open_image` opens it, for files that came over a network.

    Raises:
        DataError: if it cannot be read; the message names no file.

    >>> open_content(b"GIF")
    Traceback (most recent call last):
    anytimenet.core.errors.DataError: its content is none of PNG, JPEG, GIF, BMP, WEBP, TIFF, PPM
    """
    try:
        with opened_content(content) as opened:
            if before_decoding is not None:
                before_decoding(opened)
            return _to_grey_or_rgb(opened.upright())
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(str(error)) from error
    except Exception as error:  # a damaged file makes Pillow's decoders raise nearly anything
        raise DataError("the content cannot be read as an image: it is damaged or no image") from error


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """A grey or RGB image as grey (1 channel) or RGB (3)."""
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def fit(
    image: Image.Image, height: int, width: int, resample: str = "bilinear", shorter_side: int | None = None
) -> Image.Image:
    """Resizes the side that is shorter (relative to the target) and crops the centre.

    `box` at an integer factor is the exact mean of each square of pixels, rounded once. With `shorter_side`
    the shorter side is resized to so many pixels first: the usual evaluation of large images, 256 to 224.
    """
    if shorter_side is not None:
        return _fit_shorter_side(image, shorter_side, height, width, resample)
    if image.size == (width, height):
        return image
    factor = _integer_factor(image, height, width)
    if resample == "box" and factor:
        return _mean_of_squares(_crop_centre(image, factor * height, factor * width), factor)
    scale = max(height / image.height, width / image.width)
    size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    _check_resized(image, size)
    return _crop_centre(image.resize(size, Image.Resampling[resample.upper()]), height, width)


def fit_labels(
    labels: Image.Image, height: int, width: int, resample: str = "bilinear", shorter_side: int | None = None
) -> Image.Image:
    """A picture of class ids cut where `fit` cuts an image with the filter `resample`, nearest pixels taken.

    Filters that mix pixels would make ids that mean something else.
    """
    factor = _integer_factor(labels, height, width)
    if resample == "box" and factor and shorter_side is None:
        labels = _crop_centre(labels, factor * height, factor * width)
    return fit(labels, height, width, "nearest", shorter_side)


def _fit_shorter_side(
    image: Image.Image, shorter_side: int, height: int, width: int, resample: str
) -> Image.Image:
    """The longer side is rounded down and the corner of the crop to the nearest even half, as torchvision's
    Resize and CenterCrop do, for equal pixels.
    """
    long = int(shorter_side * max(image.size) / min(image.size))
    size = (shorter_side, long) if image.width <= image.height else (long, shorter_side)
    _check_resized(image, size)
    if size != image.size:
        image = image.resize(size, Image.Resampling[resample.upper()])
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return image.crop((left, top, left + width, top + height))


def as_array(image: Image.Image) -> np.ndarray:
    """The pixels of a grey or RGB image: uint8 `(H, W, C)`."""
    pixels = np.array(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def tensor_pixels(image: Any, where: str) -> ImageLike:
    """A tensor `(H, W)` or `(C, H, W)` as a uint8 array `(H, W)` or `(H, W, C)`; anything else as it is.

    uint8 values are pixels; floats must lie in 0..1, as torchvision's transforms give them.

    Raises:
        DataError: for another shape or other values; `where` names the image.
    """
    torch = sys.modules.get("torch")  # whoever made a tensor has imported it
    if torch is None or not isinstance(image, torch.Tensor):
        return cast(ImageLike, image)
    shape = tuple(image.shape)
    if 0 in shape or not (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 2, 3, 4))):
        raise DataError(
            f"{where}: a tensor has shape (H, W) or (C, H, W), got {shape}; "
            "use .permute(2, 0, 1) on channels-last tensors"
        )
    pixels = image.detach().cpu()
    if pixels.is_floating_point():
        low, high = float(pixels.min()), float(pixels.max())
        if not 0 <= low <= high <= 1:
            raise DataError(
                f"{where}: a float tensor has values in 0..1, got {low:.3g} to {high:.3g}; "
                "take Normalize out of the dataset's transform, anytimenet standardises by itself"
            )
        pixels = (pixels.double() * 255).round().to(torch.uint8)
    array: np.ndarray = (pixels if len(shape) == 2 else pixels.permute(1, 2, 0)).numpy()
    return array


def _check_resized(image: Image.Image, size: tuple[int, int]) -> None:
    """A picture of a few pixels by thousands would fill the memory before its centre is cut out."""
    if size[0] * size[1] > MOST_PIXELS:
        raise DataError(
            f"an image of {image.width}x{image.height} is too long and thin to be resized: leave it out"
        )


def _integer_factor(image: Image.Image, height: int, width: int) -> int:
    """How many times the shorter side (relative to the target) holds its target; 0 if not exactly."""
    if image.width * height >= image.height * width:
        long, short = image.height, height
    else:
        long, short = image.width, width
    return 0 if long % short else long // short


def _mean_of_squares(image: Image.Image, factor: int) -> Image.Image:
    if factor & (factor - 1) == 0:
        return image.reduce(factor)  # quick, and rounded right for powers of two only
    pixels = as_array(image)
    height, width, channels = pixels.shape
    tiles = pixels.reshape(height // factor, factor, width // factor, factor, channels)
    means = (2 * tiles.sum(axis=(1, 3), dtype=np.int64) + factor**2) // (2 * factor**2)
    return Image.fromarray(means.astype(np.uint8)[:, :, 0] if channels == 1 else means.astype(np.uint8))


def _crop_centre(image: Image.Image, height: int, width: int) -> Image.Image:
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _to_grey_or_rgb(image: Image.Image) -> Image.Image:
    if 0 in image.size:
        raise DataError(f"an image needs at least 1x1 pixels, not {image.height}x{image.width}")
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.mode == "F":
        raise DataError("float images have no fixed range; save it with 8 or 16 bits a channel")
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return _over_white(image)
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _over_white(image: Image.Image) -> Image.Image:
    grey = image.mode in ("1", "L", "LA", "La")
    whole = Image.new("L" if grey else "RGB", image.size)
    for top, band in _bands(image):
        rgba = band.convert("RGBA")
        whole.paste(
            Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert(whole.mode), (0, top)
        )
    return whole


def _from_16_bit(image: Image.Image) -> Image.Image:
    whole = Image.new("L", image.size)
    for top, band in _bands(image):
        values = np.asarray(band)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(
                f"values from {values.min()} to {values.max()} fit neither 8 nor 16 bits; "
                "save it with 8 or 16 bits a channel"
            )
        whole.paste(Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8)), (0, top))
    return whole


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Its rows in pieces of a few megabytes, each with its first row, so that steps between need no room."""
    rows = max(1, 2**20 // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise DataError(
            f"an image array must be uint8 with values 0..255, got {array.dtype}; "
            "scale it and use .astype('uint8')"
        )
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (2, 3, 4))):
        raise DataError(
            f"an image array has shape (H, W) or (H, W, C) with 1 to 4 channels, got {array.shape}; "
            "transpose channels-first arrays with array.transpose(1, 2, 0)"
        )
    return Image.fromarray(np.ascontiguousarray(array))
