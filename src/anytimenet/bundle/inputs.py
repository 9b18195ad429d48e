"""What `Bundle.predict` reads, as one tensor `(1, C, H, W)`; and logits as probabilities."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anytimenet.core.preprocessing import Preprocessing


def as_input(image: Any, preprocessing: Preprocessing) -> Tensor:
    """One image as the net reads it, `(1, C, H, W)` on the CPU.

    A path, a PIL image and a uint8 array `(H, W)` or `(H, W, C)` are preprocessed. A floating-point tensor
    or array `(1, C, H, W)` or `(C, H, W)` is taken as preprocessed already.

    Raises:
        ValueError: for anything else, with the cure.
    """
    if isinstance(image, str | PathLike | Image.Image) or _is_pixels(image):
        return torch.from_numpy(preprocessing.standardise(preprocessing.decode(image)[None]))
    if isinstance(image, np.ndarray) and np.issubdtype(image.dtype, np.floating):
        return _ready(torch.from_numpy(np.array(image, dtype=np.float64)), preprocessing)
    if isinstance(image, Tensor) and image.is_floating_point():
        return _ready(image.detach(), preprocessing)
    if isinstance(image, Tensor):
        raise ValueError(
            f"a tensor of {image.dtype} is neither pixels nor a net's input: give pixels as a uint8 "
            "numpy array (H, W, C), such as image.permute(1, 2, 0).numpy(), or a standardised float "
            "tensor (C, H, W)"
        )
    if isinstance(image, np.ndarray):
        raise ValueError(
            f"an array of {image.dtype} is neither pixels nor a net's input: give uint8 values from 0 to 255 "
            "(H, W, C), or standardised floats (C, H, W)"
        )
    raise ValueError(
        f"predict reads a path, a PIL image, a uint8 array (H, W, C) or a float tensor (C, H, W), not a "
        f"{type(image).__name__}"
    )


def softmax(logits: Tensor) -> np.ndarray:
    """Probabilities `(classes,)`, in float64, of logits `(1, classes)`.

    Raises:
        ValueError: for logits that are not finite, or that are a map with more dimensions.

    >>> softmax(torch.tensor([[0.0, 0.0]])).tolist()
    [0.5, 0.5]
    """
    if logits.ndim != 2:
        raise ValueError(
            f"predict gives one label an image, and this net's output has shape {tuple(logits.shape)}: use "
            "Bundle.segment_for(stage) and decode the label map yourself"
        )
    values = logits[0].to("cpu", torch.float64).numpy()
    if not np.isfinite(values).all():
        raise ValueError(
            "the net's output is not finite: the input holds NaN or infinite values, or the weights do"
        )
    exponentials = np.exp(values - values.max())
    return exponentials / exponentials.sum()


def _is_pixels(image: Any) -> bool:
    return isinstance(image, np.ndarray) and image.dtype == np.uint8


def _ready(x: Tensor, preprocessing: Preprocessing) -> Tensor:
    shape = (preprocessing.channels, preprocessing.height, preprocessing.width)
    if x.ndim == 3:
        x = x[None]
    if tuple(x.shape) != (1, *shape):
        raise ValueError(
            f"a float input of shape {tuple(x.shape)}: this net reads one standardised image of shape "
            f"(1, C, H, W) = {(1, *shape)}; give pixels as a uint8 array (H, W, C) to have them preprocessed"
        )
    return x
