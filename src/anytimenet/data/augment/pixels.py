"""Random changes of pixels where they are: cutout (DeVries & Taylor 2017), colour jitter and lighting.

Cutout blacks out a square of the image; lighting goes along the principal components of ImageNet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageEnhance

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


# Eigenvalues and eigenvectors (columns) of the covariance of ImageNet's RGB values in 0..1, as in the
# released Torch7 training code for ResNet and MSDNet.
_EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
_EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])

Change = tuple[str, float]
"""A name of `CHANGES` and its strength."""


def draw_changes(jitter: float, hue: float, rng: np.random.Generator) -> tuple[Change, ...]:
    """Brightness, contrast and saturation times 1 - jitter .. 1 + jitter, hue turned, in random order."""
    changes: list[Change] = []
    if jitter:
        factors = rng.uniform(1 - jitter, 1 + jitter, 3).tolist()
        changes += zip(("brightness", "contrast", "saturation"), factors, strict=True)
    if hue:
        changes.append(("hue", float(rng.uniform(-hue, hue))))
    return tuple(changes[i] for i in rng.permutation(len(changes)))


def draw_lighting(strength: float, rng: np.random.Generator) -> tuple[float, ...]:
    """What is added to red, green and blue in 0..1 (Krizhevsky et al. 2012, section 4.1)."""
    return tuple((_EIGENVECTORS @ (rng.normal(0, strength, 3) * _EIGENVALUES)).tolist())


def change(image: Image.Image, changes: tuple[Change, ...]) -> Image.Image:
    """The changes one after another, as Pillow and torchvision's transforms of PIL images make them."""
    for name, strength in changes:
        image = CHANGES[name](image, strength)
    return image


def light(image: Image.Image, added: tuple[float, ...]) -> Image.Image:
    """Adds a number to every value of each channel, rounded and clipped to bytes."""
    values = np.arange(256)[None] + 255 * np.array(added)[:, None]
    return image.point(np.clip(np.rint(values), 0, 255).astype(int).ravel().tolist())


def _turn_hue(image: Image.Image, turn: float) -> Image.Image:
    if image.mode != "RGB":
        return image
    hue, saturation, value = image.convert("HSV").split()
    shift = round(turn * 255)
    turned = hue.point([(i + shift) % 256 for i in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "brightness": lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    "contrast": lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    "saturation": lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    "hue": _turn_hue,
}
