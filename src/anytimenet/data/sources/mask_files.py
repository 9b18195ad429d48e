"""Mask files and the file that says what they mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.core.files.regular import read_json
from anytimenet.core.images.decoding import fit_labels
from anytimenet.core.images.formats import opened_image
from anytimenet.core.labels.mask_classes import IGNORED, MaskClasses, default_palette
from anytimenet.data.sets.options import DataOptions

CLASSES_NAME = "classes.json"
_CURE = (
    'write {"class_names": ["road", "sky"], "ignore_index": 255}, where the place of a name is the pixel '
    "value of its class"
)


def read_mask_classes(
    path: Path, ignore_index: int | Literal["file"] | None = "file"
) -> tuple[MaskClasses, bool]:
    """The classes that a `classes.json` describes, and whether what is ignored follows from nothing said.

    Args:
        ignore_index: the pixel value that is ignored, None for none; "file" takes that of the file, 255 where
            it says nothing.

    Raises:
        DataError: if it is missing or malformed, with what it should be.
    """
    try:
        told = read_json(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: {_CURE}") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    told = {"class_names": told} if isinstance(told, list) else told
    names = told.get("class_names") if isinstance(told, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise DataError(f"{path} holds no list of class names: {_CURE}")
    if unknown := sorted(set(told) - {"class_names", "ignore_index", "palette"}):
        raise DataError(f"{path} has an unknown key {unknown[0]!r}: {_CURE}")
    by_default = ignore_index == "file" and "ignore_index" not in told
    if ignore_index == "file":
        ignored = told.get("ignore_index", IGNORED if len(names) <= IGNORED else None)
    else:
        ignored = ignore_index
    values = [value for value in range(len(names)) if value != ignored]
    palette = told.get("palette")
    if palette is not None and (not isinstance(palette, list) or len(palette) != len(names)):
        raise DataError(f"{path}: palette needs one colour [red, green, blue] for each of {len(names)} names")
    if len(values) < 2:
        raise DataError(
            f"{path} names {len(values)} class(es) besides what is ignored: two or more are needed"
        )
    colours = default_palette(len(values)) if palette is None else [_colour(palette[v]) for v in values]
    try:
        classes = MaskClasses(tuple(names[v] for v in values), tuple(values), tuple(colours), ignored)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return classes, by_default


def with_binary_values(classes: MaskClasses, masks: Iterable[Path]) -> MaskClasses:
    """The classes of masks of 0 and 255, as most tools write two classes, where nothing is ignored.

    The first mask that is not 0 everywhere decides whether the second class is written as 1 or as 255.

    Raises:
        DataError: if a mask cannot be read.
    """
    if classes.ignore_index is not None or classes.values != (0, 1):
        return classes
    for path in masks:
        pixels = _mask_pixels(path)
        if pixels.any():
            return replace(classes, values=(0, 255)) if pixels.max() == 255 else classes
    return classes


def read_mask(path: Path, classes: MaskClasses) -> np.ndarray:
    """The classes uint8 `(H, W)`, or `IGNORED`, of a mask file.

    Raises:
        DataError: if it cannot be read, is no picture of one channel, or holds a value that is no class.
    """
    try:
        return classes.from_file(_mask_pixels(path))
    except DataError as error:
        raise DataError(f"{path} {error}" if str(path) not in str(error) else str(error)) from error


def _mask_pixels(path: Path) -> np.ndarray:
    """The values uint8 `(H, W)` of a mask file."""
    try:
        with opened_image(path) as opened:
            mode, pixels = opened.picture.mode, np.array(opened.picture)
    except OSError as error:
        raise DataError(f"{path} cannot be read as a mask ({error.strerror or error}); replace it") from error
    except Exception as error:  # a damaged file makes Pillow's decoders raise nearly anything
        raise DataError(f"{path} cannot be read as a mask ({error}); replace it") from error
    if mode not in ("L", "P"):
        raise DataError(
            f"{path} is a picture of mode {mode}: a mask has one channel of 8 bits, a class id in each pixel"
        )
    return pixels


def upright_size(path: Path) -> tuple[int, int]:
    """Height and width of an image as it is decoded; its pixels are not read."""
    with opened_image(path) as image:
        return image.upright_size[::-1]


def fit_mask(mask: np.ndarray, options: DataOptions) -> np.ndarray:
    """A mask uint8 `(H, W)` cut and resized as its image is, nearest pixels taken."""
    if options.size is None:
        return mask
    return np.array(fit_labels(Image.fromarray(mask), *options.size, options.resample, options.shorter_side))


def _colour(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else (value,)
