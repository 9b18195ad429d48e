"""Cutout: a square of the image is blacked out (DeVries & Taylor 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def draw_squares(count: int, height: int, width: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """Top and left of each image's square, int64 `(count, 2)`; centres are even over the pixels.

    A square may hang over the border, so that less of the image is hidden, as in the paper.
    """
    return rng.integers(0, (height, width), (count, 2)) - side // 2


def cut_array(images: np.ndarray, squares: np.ndarray, side: int) -> np.ndarray:
    """Blacks out the squares of uint8 `(N, H, W, C)`, in place."""
    ends = (squares + side).tolist()
    starts = np.maximum(squares, 0).tolist()
    for image, (top, left), (bottom, right) in zip(images, starts, ends, strict=True):
        image[top:bottom, left:right] = 0
    return images


def cut_tensor(images: Tensor, squares: np.ndarray, side: int) -> Tensor:
    """The same for a uint8 tensor `(N, H, W, C)` on any device, as a new tensor."""
    import torch

    tops, lefts = torch.from_numpy(squares).to(images.device).unbind(1)
    hidden = (
        _between(tops, side, images.shape[1])[:, :, None] & _between(lefts, side, images.shape[2])[:, None]
    )
    return images.masked_fill(hidden[..., None], 0)


def _between(starts: Tensor, side: int, size: int) -> Tensor:
    import torch

    places = torch.arange(size, device=starts.device)
    return (places >= starts[:, None]) & (places < starts[:, None] + side)
