"""The images of a request, from its body to the net's input; none of it touches a file or another address."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import json
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from anytimenet.core.checks import shown
from anytimenet.core.errors import BackendError, DataError
from anytimenet.core.images.containers import check_pixels
from anytimenet.core.images.decoding import as_array, fit, open_content, with_channels
from anytimenet.core.images.formats import OpenedImage
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.images.told_size import told_size
from anytimenet.native.library import library
from anytimenet.native.preparation import prepare
from anytimenet.serving.http.asking import Ask, with_fields
from anytimenet.serving.http.forms import read_form
from anytimenet.serving.http.problems import Problem, bad_request
from anytimenet.serving.http.settings import Limits

_INLINE_BYTES, _INLINE_PIXELS = 2**16, 2**16
"""What is decoded where it was read: in less time than it takes to hand it to a thread and back."""


@dataclass(frozen=True)
class Images:
    """What a body holds.

    Attributes:
        ask: with the parameters that stand in the body.
        contents: of image files.
        several: whether the client sent a list, and reads one.
    """

    ask: Ask
    contents: list[bytes] = field(repr=False)
    several: bool = False


def is_image(content_type: str) -> bool:
    """Whether a body of this type is one image and holds no parameters."""
    kind = _kind(content_type)
    return kind.startswith("image/") or kind == "application/octet-stream"


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def images_in(body: bytes, content_type: str, ask: Ask, limits: Limits) -> Images:
    """The images and parameters of a body.

    Raises:
        Problem: 400 for a body that cannot be read, 413 for too many images, 415 for a kind that is not read.
    """
    if is_image(content_type):
        if not body:
            raise bad_request("the body is empty: send the content of an image file")
        return Images(ask, [body])
    kind = _kind(content_type)
    if kind == "multipart/form-data":
        fields, contents = read_form(body, content_type, limits.images)
        found = Images(with_fields(ask, fields), contents, several=True)
    elif kind == "application/json":
        found = _in_json(json_object(body), ask)
    else:
        raise Problem(
            415,
            "unsupported_media_type",
            "the body must be an image (content-type: image/jpeg, image/png, ...), a form with several "
            "(multipart/form-data) or JSON with images in base64 (application/json)",
        )
    if not found.contents:
        raise bad_request("no image was sent")
    if len(found.contents) > limits.images:
        raise Problem(413, "too_large", f"a request may have {limits.images} images at most")
    return found


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        Problem: 400 for anything else.
    """
    try:
        value = json.loads(body, parse_constant=_no_number, object_pairs_hook=_no_name_twice)
    except (ValueError, RecursionError):
        raise bad_request("the body is no JSON") from None
    if not isinstance(value, dict):
        raise bad_request("the body must be a JSON object")
    return value


async def net_input(
    content: bytes,
    preprocessing: Preprocessing,
    limits: Limits,
    executor: Executor,
    check_time: Callable[[], None],
) -> np.ndarray:
    """The standardised input float32 `(1, C, H, W)` of an image file; large ones are decoded in a thread.

    Args:
        content: of the file.
        preprocessing: of the net.
        limits: on its pixels.
        executor: the threads.
        check_time: asked again when a thread gets to it; what it raises ends the request.

    Raises:
        Problem: 400 for what cannot be read as an image, 413 for one of too many pixels.
    """
    if len(content) <= _INLINE_BYTES:
        try:
            return prepared(content, preprocessing, limits.pixels, _INLINE_PIXELS)
        except _LargeError:
            pass

    def late_or_prepared() -> np.ndarray:
        check_time()
        return prepared(content, preprocessing, limits.pixels)

    return await asyncio.get_running_loop().run_in_executor(executor, late_or_prepared)


def prepared(
    content: bytes, preprocessing: Preprocessing, most_pixels: int, at_once: int | None = None
) -> np.ndarray:
    """An image file as the net's input.

    Args:
        content: of the file.
        preprocessing: of the net.
        most_pixels: that it may have.
        at_once: raise `_LargeError` for an image of more pixels, before it is decoded.
    """

    def look(opened: OpenedImage) -> None:
        width, height = opened.picture.size
        if at_once is not None and width * height > at_once:
            raise _LargeError
        if width * height > most_pixels:
            raise _TooLargeError(f"an image may have {most_pixels:,} pixels, not {width}x{height}")
        check_pixels(width, height)

    try:
        return _standardised(open_content(content, look), preprocessing)
    except _LargeError:
        raise
    except _TooLargeError as error:
        raise Problem(413, "too_large", str(error)) from None
    except DataError as error:
        raise Problem(400, "bad_image", str(error)) from None


def _standardised(opened: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """An opened image as the net's input; resized by the engine where there is one, in half the time."""
    picture = with_channels(opened, preprocessing.channels)
    height, width = preprocessing.height, preprocessing.width
    if picture.size != (width, height) and _has_engine():
        return prepare(np.asarray(picture), preprocessing)
    fitted = fit(picture, height, width, preprocessing.resample, preprocessing.shorter_side)
    return preprocessing.standardise(as_array(fitted)[None])


@cache
def _has_engine() -> bool:
    try:
        library()
    except BackendError:
        return False
    return True


def is_small(content: bytes) -> bool:
    """Whether a file is decoded in so little time that it can be done when its turn has come."""
    size = told_size(content) if len(content) <= _INLINE_BYTES else None
    return size is not None and size[0] * size[1] <= _INLINE_PIXELS


def prepared_late(content: bytes, preprocessing: Preprocessing, limits: Limits) -> np.ndarray:
    """`prepared`, for a file that `is_small`.

    Raises:
        Problem: as `prepared`, and for a file that is larger than its beginning said.
    """
    try:
        return prepared(content, preprocessing, limits.pixels, _INLINE_PIXELS)
    except _LargeError:
        raise Problem(400, "bad_image", "the image has more than one size") from None


def warm_up_decoders(preprocessing: Preprocessing) -> None:
    """Reads one small image of each usual format, so that the first request does not wait for a decoder."""
    for name in ("PNG", "JPEG", "WEBP"):
        file = io.BytesIO()
        try:
            Image.new("RGB", (16, 16)).save(file, name)
        except (OSError, KeyError):  # a Pillow without that format
            continue
        prepared(file.getvalue(), preprocessing, 256)


class _LargeError(DataError):
    """An image that is decoded elsewhere."""


class _TooLargeError(DataError):
    """An image that is not decoded at all."""


def _in_json(value: dict[str, Any], ask: Ask) -> Images:
    several = "images" in value
    if several == ("image" in value):
        raise bad_request('the JSON object needs "image", base64, or "images", a list of them')
    encoded = value.pop("images") if several else [value.pop("image")]
    if not isinstance(encoded, list):
        raise bad_request('"images" must be a list of images in base64')
    return Images(with_fields(ask, value.items()), [from_base64(one) for one in encoded], several)


def from_base64(text: Any) -> bytes:
    """The bytes that a JSON string holds.

    Raises:
        Problem: 400 for anything else; an address is no image.
    """
    if not isinstance(text, str):
        raise bad_request("an image in JSON is a string of base64")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise bad_request("an image in JSON is a string of base64, and never an address or a path") from None


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise bad_request(f"{shown(twice)} is given twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(name)
