"""Images prepared by the native engine, for hosts without Python: bit for bit as `core.images`."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_float, c_uint8

import numpy as np

from anytimenet.core import checks
from anytimenet.core.errors import DataError
from anytimenet.core.images.decoding import RESAMPLE
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.native.library import PreprocessingFields, library

_REASONS = {
    -1: "its shape or the preprocessing is none that it knows",
    -2: "it has too many pixels, or is too long and thin to be resized",
    -3: "there is not enough memory",
}


def prepare(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """`standardise(decode(pixels))` of an upright image in C++.

    Args:
        pixels: uint8 `(H, W)` or `(H, W, C)`: grey, RGB, or RGB and how opaque a pixel is.
        preprocessing: what the net was trained with.

    Returns:
        float32 `(1, C, height, width)`, the same bits as Python's.

    Raises:
        DataError: for another array, or an image that is too large.
        BackendError: if the engine is not in this installation.
    """
    checks.instance(pixels, np.ndarray, "pixels", "a uint8 array (H, W) or (H, W, C)")
    if pixels.dtype != np.uint8 or not (
        pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3, 4))
    ):
        raise DataError(
            f"pixels are uint8 of shape (H, W) or (H, W, C) with 1, 3 or 4 channels, got {pixels.dtype} of "
            f"shape {pixels.shape}"
        )
    if pixels.size == 0 or max(pixels.shape) >= 2**31:
        raise DataError(f"an image has at least 1x1 pixels and sides below 2^31, not {pixels.shape[:2]}")
    image = np.ascontiguousarray(pixels)
    height, width = image.shape[:2]
    found = np.empty((1, preprocessing.channels, preprocessing.height, preprocessing.width), np.float32)
    failed = library().anytime_prepare(
        image.ctypes.data_as(POINTER(c_uint8)),
        height,
        width,
        1 if image.ndim == 2 else image.shape[2],
        ctypes.byref(fields_of(preprocessing)),
        found.ctypes.data_as(POINTER(c_float)),
    )
    if failed:
        raise DataError(f"an image of {width}x{height} cannot be prepared: {_REASONS[failed]}")
    return found


def fields_of(preprocessing: Preprocessing) -> PreprocessingFields:
    """`anytime_preprocessing` of these settings."""
    three = ctypes.c_double * 3
    return PreprocessingFields(
        preprocessing.height,
        preprocessing.width,
        preprocessing.channels,
        RESAMPLE.index(preprocessing.resample),
        preprocessing.shorter_side or 0,
        0,
        three(*preprocessing.mean),
        three(*preprocessing.std),
    )
