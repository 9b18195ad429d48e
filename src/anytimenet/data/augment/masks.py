"""Augmentation of images and their masks together: what moves an image moves its mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anytimenet.core import checks
from anytimenet.core.errors import DataError
from anytimenet.core.records import JsonForm
from anytimenet.data.augment.small_images import Augmentation

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MaskAugmentation:
    """Random scale and crop, random shift with padding, a horizontal flip of every second image on average.

    Pixels that come in from outside are black in the image and ignored in the mask. All random numbers of a
    batch are drawn by numpy, as in `Augmentation`.

    Attributes:
        flip: whether images may be flipped.
        pad: pixels added on each side before an image of the old size is cropped.
        scale: least and largest factor of a random resizing, after which an image of the old size is cropped
            out of it or laid upon black; None leaves the size alone. Images are interpolated bilinearly,
            masks take the nearest pixel.

    Raises:
        TypeError: for a field of another kind.
        DataError: if pad is negative, or scale is no range of positive factors.

    >>> images, masks = np.ones((2, 4, 6, 3), np.uint8), np.zeros((2, 4, 6), np.uint8)
    >>> moved, moved_masks = MaskAugmentation(pad=2)(images, masks, np.random.default_rng(0))
    >>> moved.shape, np.array_equal(moved[..., 0] == 0, moved_masks == 255)
    ((2, 4, 6, 3), True)
    """

    flip: bool = True
    pad: int = 0
    scale: tuple[float, float] | None = None
    json_form = JsonForm(strict=True, defaults=True)

    def __post_init__(self) -> None:
        with checks.raised_as(DataError):
            checks.settle(self, "flip", checks.flag)
            checks.settle(self, "pad", checks.whole_number, most=checks.MOST_SIDE)
            checks.settle(self, "scale", checks.optional, checks.numbers, above=0)
            if self.scale is None:
                return
            scale = tuple(float(factor) for factor in self.scale)
            if len(scale) != 2 or scale[0] > scale[1]:
                raise ValueError(f"scale must be two positive factors, the smaller first, not {scale}")
        object.__setattr__(self, "scale", scale)

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """New uint8 images `(N, H, W, C)` and masks `(N, H, W)`."""
        import torch

        if self.scale is not None:
            # Through torch, so that both versions interpolate alike.
            pair = self._scaled(torch.from_numpy(images), torch.from_numpy(labels), rng)
            images, labels = (tensor.numpy() for tensor in pair)
        # One higher, what is ignored wraps to 0, which is also what padding fills in.
        together = np.concatenate([images, labels[..., None] + np.uint8(1)], axis=3)
        moved, _ = Augmentation(self.flip, self.pad)(together, labels, rng)
        return np.ascontiguousarray(moved[..., :-1]), moved[..., -1] - np.uint8(1)

    def on_tensor(self, images: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The same for uint8 tensors on any device."""
        import torch

        if self.scale is not None:
            images, labels = self._scaled(images, labels, rng)
        together = torch.cat([images, labels[..., None] + 1], dim=3)
        moved, _ = Augmentation(self.flip, self.pad).on_tensor(together, labels, rng)
        return moved[..., :-1].contiguous(), moved[..., -1] - 1

    def _scaled(self, images: Tensor, masks: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Each image resized by a factor of its own around a random place."""
        import torch
        import torch.nn.functional as F

        assert self.scale is not None
        count = len(images)
        # In units of half an image around its centre, the window reaches 1 / factor to each side.
        reach = np.exp(-rng.uniform(math.log(self.scale[0]), math.log(self.scale[1]), count))
        centres = (1 - reach)[:, None] * rng.uniform(-1, 1, (count, 2))
        theta = np.zeros((count, 2, 3))
        theta[:, 0, 0] = theta[:, 1, 1] = reach
        theta[:, :, 2] = centres
        pixels = images.permute(0, 3, 1, 2).float()
        grid = F.affine_grid(
            torch.from_numpy(theta).float().to(images.device), list(pixels.shape), align_corners=False
        )
        moved = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        ids = F.grid_sample(
            (masks[:, None] + 1).float(), grid, mode="nearest", padding_mode="zeros", align_corners=False
        )
        resized = moved.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
        return resized, ids[:, 0].to(torch.uint8) - 1
