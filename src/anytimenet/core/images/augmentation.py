"""What augmentations look like, for the tasks that own one and the loaders that apply it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from anytimenet.core.images.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class BatchAugmentation(Protocol):
    """Changes a training batch of uint8 images `(N, H, W, C)` and its labels `(N, levels)` together."""

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """On the CPU."""

    def on_tensor(self, images: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The same images and labels on an accelerator."""


@runtime_checkable
class FileAugmentation(Protocol):
    """Reads an image file as a training image; worker processes call it."""

    def read_image(self, path: Path, preprocessing: Preprocessing, rng: np.random.Generator) -> np.ndarray:
        """A uint8 image of the size and channels of `preprocessing`, a function of file and generator.

        Raises:
            DataError: if the file cannot be read.
        """
