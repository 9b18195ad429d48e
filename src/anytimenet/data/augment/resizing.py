"""Cutting a rectangle out of an image and resizing it, with Pillow or with torchvision."""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np
from PIL import Image

from anytimenet.core.errors import DataError, require

Backend = Literal["auto", "pillow", "torchvision"]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

_TRANSFORMS = "torchvision.transforms.v2"
_TORCHVISION_FILTERS = ("bilinear", "bicubic")


def choose_backend(wanted: Backend) -> Backend:
    """`wanted`, or what "auto" stands for here: torchvision where it can be imported, else Pillow.

    Raises:
        DataError: if torchvision is wanted and cannot be imported, or the name is unknown.
    """
    if wanted not in ("auto", "pillow", "torchvision"):
        raise DataError(f"unknown backend {wanted!r}: choose auto, pillow or torchvision")
    if wanted == "pillow":
        return wanted
    lacking = _torchvision_error()
    if not lacking:
        return "torchvision"
    if wanted == "auto":
        return "pillow"
    raise DataError(
        f"torchvision cannot be imported ({lacking}); install the build that fits this torch, or choose the "
        "backend pillow"
    )


@functools.cache
def _torchvision_error() -> str:
    """Why torchvision cannot be imported; empty if it can. (A failed import would be tried every time.)"""
    try:
        require(_TRANSFORMS, "vision")
    except (ImportError, RuntimeError, OSError) as error:  # a build for another torch raises RuntimeError
        return str(error)
    return ""


def cut_out(
    image: Image.Image, box: Box, height: int, width: int, resample: str, backend: Backend
) -> Image.Image:
    """The rectangle `box` of an image, resized with antialiasing; nothing outside of it is looked at.

    torchvision's vector code takes half the time and differs from Pillow by one of 255 steps at most
    (bilinear). Filters that it lacks are Pillow's.
    """
    cropped = image.crop(box)
    if cropped.size == (width, height):
        return cropped
    if backend != "torchvision" or resample not in _TORCHVISION_FILTERS:
        return cropped.resize((width, height), Image.Resampling[resample.upper()])
    import torch

    transforms = require(_TRANSFORMS, "vision")
    pixels = torch.from_numpy(np.array(cropped))
    planes = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    mode = transforms.InterpolationMode[resample.upper()]
    resized = transforms.functional.resize(planes, [height, width], interpolation=mode, antialias=True)
    return Image.fromarray((resized[0] if pixels.ndim == 2 else resized.permute(1, 2, 0)).numpy())
