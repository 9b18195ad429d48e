"""What predictions and sessions read, as one array `(N, C, H, W)`; without torch."""

from __future__ import annotations

import sys
from os import PathLike
from typing import Any

import numpy as np
from PIL import Image

from anytimenet.core.images.decoding import tensor_pixels
from anytimenet.core.images.preprocessing import Preprocessing


def as_input(image: Any, preprocessing: Preprocessing, *, batches: bool = False) -> np.ndarray:
    """One image, or a batch where `batches` allows it, as the net reads it: floats `(N, C, H, W)`.

    Four dimensions of floats are the net's input, standardised already, and stay as they are. Everything else
    is pixels and is preprocessed, as a dataset's images are: a path, a PIL image, a uint8 array `(H, W)` or
    `(H, W, C)`, a tensor `(H, W)` or `(C, H, W)` of uint8 or of floats in 0..1.

    Raises:
        DataError: for a file or pixels that cannot be read.
        ValueError: for another shape, an empty batch, NaN, infinity, or no image at all; with the cure.

    >>> grey = Preprocessing(2, 2, 1, mean=(0.5,), std=(0.5,))
    >>> as_input(np.zeros((2, 2), np.uint8), grey).shape, as_input(np.zeros((1, 1, 2, 2)), grey).dtype
    ((1, 1, 2, 2), dtype('float64'))
    >>> as_input(np.full((1, 1, 2, 2), np.nan), grey)
    Traceback (most recent call last):
    ValueError: the input holds NaN: 4 of its 4 numbers, the first at (0, 0, 0, 0); pixels must be finite
    """
    image = _array_of_floats(image)
    if isinstance(image, np.ndarray) and np.issubdtype(image.dtype, np.floating):
        check_shape(image.shape, preprocessing, batches=batches)
        check_finite_pixels(image)
        return image
    image = tensor_pixels(image, "the image")
    if not isinstance(image, str | PathLike | Image.Image | np.ndarray):
        raise ValueError(
            "predict reads a path, a PIL image, a uint8 array (H, W, C) or a tensor (C, H, W) of pixels, or "
            f"a standardised float array (1, C, H, W), not a {type(image).__name__}"
        )
    return preprocessing.standardise(preprocessing.decode(image)[None])


def own_copy(pixels: np.ndarray) -> np.ndarray:
    """A copy in float32, C-contiguous whatever the layout was: sums in another layout round otherwise.

    Raises:
        ValueError: if a number is too large for float32.
    """
    with np.errstate(over="ignore"):
        found = np.array(pixels, np.float32, order="C")
    if found.dtype != pixels.dtype:
        check_finite_pixels(found)
    return found


def check_shape(shape: tuple[int, ...], preprocessing: Preprocessing, *, batches: bool = False) -> None:
    """Raises ValueError unless `shape` is that of standardised images; of one, unless `batches`."""
    own = (preprocessing.channels, preprocessing.height, preprocessing.width)
    if len(shape) == 4 and shape[0] == 0:
        raise ValueError(f"the batch is empty: an input of shape {tuple(shape)} holds no image")
    if tuple(shape[1:]) == own and len(shape) == 4 and (batches or shape[0] == 1):
        return
    many = "standardised images of shape (N, C, H, W) = (N, {}, {}, {})".format(*own)
    one = f"one standardised image of shape (1, C, H, W) = {(1, *own)}"
    raise ValueError(
        f"a float input of shape {tuple(shape)}: this net reads {many if batches else one}; "
        "give pixels as a uint8 array (H, W, C) to have them preprocessed"
    )


def check_finite_pixels(x: np.ndarray) -> None:
    """Raises ValueError if a number of `x` is NaN or infinite."""
    flat = x.ravel()
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.dot(flat, flat)):  # one pass of BLAS; squares of large numbers overflow, too
            return
    broken = ~np.isfinite(x)
    if broken.any():
        name = "NaN" if np.isnan(x).any() else "infinity"
        first = tuple(int(place) for place in np.argwhere(broken)[0])
        raise ValueError(
            f"the input holds {name}: {int(broken.sum())} of its {x.size} numbers, the first at {first}; "
            "pixels must be finite"
        )


def _array_of_floats(image: Any) -> Any:
    """A tensor `(N, C, H, W)` of floats as an array of float64; anything else as it is."""
    torch = sys.modules.get("torch")  # whoever made a tensor has imported it
    if torch is None or not isinstance(image, torch.Tensor) or image.ndim != 4:
        return image
    return image.detach().cpu().double().numpy() if image.is_floating_point() else image
