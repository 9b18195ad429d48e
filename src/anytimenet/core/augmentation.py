"""What a batch augmentation looks like, for the tasks that own one and the loaders that apply it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class BatchAugmentation(Protocol):
    """Changes a training batch of uint8 images `(N, H, W, C)` and its labels `(N, levels)` together."""

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """On the CPU."""

    def on_tensor(self, images: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The same images and labels on an accelerator."""
