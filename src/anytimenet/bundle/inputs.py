"""What `Bundle.predict` reads, as one tensor `(1, C, H, W)`; and its output as arrays."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anytimenet.core.images.decoding import tensor_pixels
from anytimenet.core.images.preprocessing import Preprocessing


def as_input(image: Any, preprocessing: Preprocessing) -> Tensor:
    """One image as the net reads it, `(1, C, H, W)` on the CPU.

    Four dimensions of floats, `(1, C, H, W)`, are the net's input, standardised already. Everything else is
    pixels and is preprocessed, as a dataset's images are: a path, a PIL image, a uint8 array `(H, W)` or
    `(H, W, C)`, a tensor `(H, W)` or `(C, H, W)` of uint8 or of floats in 0..1.

    Raises:
        ValueError: for anything else, with the cure.
    """
    if isinstance(image, Tensor) and image.is_floating_point() and image.ndim == 4:
        return _ready(image.detach(), preprocessing)
    if isinstance(image, np.ndarray) and np.issubdtype(image.dtype, np.floating):
        return _ready(torch.from_numpy(np.array(image, dtype=np.float64)), preprocessing)
    image = tensor_pixels(image, "the image")
    if not isinstance(image, str | PathLike | Image.Image | np.ndarray):
        raise ValueError(
            "predict reads a path, a PIL image, a uint8 array (H, W, C) or a tensor (C, H, W) of pixels, or "
            f"a standardised float tensor (1, C, H, W), not a {type(image).__name__}"
        )
    return torch.from_numpy(preprocessing.standardise(preprocessing.decode(image)[None]))


def one_row(logits: Tensor) -> np.ndarray:
    """Logits `(1, classes)` as an array `(classes,)`, float64.

    Raises:
        ValueError: for a map with more dimensions.
    """
    if logits.ndim != 2:
        raise ValueError(
            f"predict gives one label an image, and this net's output has shape {tuple(logits.shape)}: use "
            "anytimenet.label_map(bundle, image), or Bundle.segment_for(stage) for the output as it is"
        )
    return logits[0].to("cpu", torch.float64).numpy()


def _ready(x: Tensor, preprocessing: Preprocessing) -> Tensor:
    shape = (1, preprocessing.channels, preprocessing.height, preprocessing.width)
    if tuple(x.shape) != shape:
        raise ValueError(
            f"a float input of shape {tuple(x.shape)}: this net reads one standardised image of shape "
            f"(1, C, H, W) = {shape}; give pixels as a uint8 array (H, W, C) to have them preprocessed"
        )
    return x
