"""Batches of standardised images, in an order that depends on seed, epoch and batch alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from anytimenet.core.augmentation import BatchAugmentation
from anytimenet.core.errors import DataError
from anytimenet.core.preprocessing import Preprocessing
from anytimenet.data.image_set import ImageSet

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Batch = tuple[Tensor, tuple[Tensor, ...]]

_ORDER, _AUGMENT = 1, 2  # keep the generators of an epoch's order and of its batches apart


class Loader:
    """Batches `(x, y)` of an image set.

    `x` is float32 `(N, C, H, W)`, standardised, in channels_last memory; `y` holds one int64 `(N,)` per
    label level, fine level first. Batch b of epoch e is a function of (seed, e, b) and nothing else, so
    a run resumes in the middle of an epoch without stored generators. On the CPU images are augmented
    by a loop of slices; on another device the whole set is kept there and batches are gathered.

    Raises:
        DataError: for a batch size below 1, a negative seed, images that do not fit `preprocessing`,
            or no batch at all.

    >>> images = ImageSet(np.zeros((5, 2, 2, 1), np.uint8), np.zeros((5, 1), np.int64), tuple("abcde"))
    >>> loader = Loader(images, Preprocessing(2, 2, 1, (0.5,), (0.5,)), batch_size=2, shuffle=True)
    >>> len(loader), [tuple(x.shape) for x, _ in loader.epoch(0)]
    (3, [(2, 1, 2, 2), (2, 1, 2, 2), (1, 1, 2, 2)])
    >>> len(list(loader.epoch(0, start=2)))
    1
    """

    def __init__(
        self,
        images: ImageSet,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        augment: BatchAugmentation | None = None,
        shuffle: bool = False,
        seed: int = 0,
        device: str | torch.device = "cpu",
        drop_last: bool = False,
    ) -> None:
        import torch

        self.images = images
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.augment = augment
        self.shuffle = shuffle
        self.seed = seed
        self.device = torch.device(device)
        self.drop_last = drop_last
        self._check()
        rows = preprocessing.scale_and_shift_rows
        self._scale, self._shift = (torch.tensor(row, device=self.device) for row in rows)
        self._resident: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        """Batches in an epoch; the last may be smaller unless `drop_last`."""
        full, rest = divmod(len(self.images), self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` (from 0), from batch `start` on.

        Raises:
            DataError: if there is no such epoch or batch.
        """
        if number < 0 or not 0 <= start <= len(self):
            raise DataError(f"epoch {number} from batch {start}: both count from 0, up to batch {len(self)}")
        take = self._from_memory if self.device.type == "cpu" else self._from_device
        order = self._order(number)
        for batch in range(start, len(self)):
            indices = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            images, labels = take(indices, np.random.default_rng((_AUGMENT, self.seed, number, batch)))
            yield self._standardise(images), tuple(level.contiguous() for level in labels.unbind(dim=1))

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.images))
        return np.random.default_rng((_ORDER, self.seed, epoch)).permutation(len(self.images))

    def _from_memory(self, indices: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        import torch

        images, labels = self.images.images[indices], self.images.labels[indices]
        if self.augment is not None:
            images, labels = self.augment(images, labels, rng)
        return torch.from_numpy(images), torch.from_numpy(labels)

    def _from_device(self, indices: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        import torch

        if self._resident is None:
            everything = self.images.images, self.images.labels
            images, labels = (torch.tensor(array, device=self.device) for array in everything)
            self._resident = images, labels
        chosen = torch.from_numpy(indices).to(self.device)
        images, labels = (tensor[chosen] for tensor in self._resident)
        if self.augment is not None:
            images, labels = self.augment.on_tensor(images, labels, rng)
        return images, labels

    def _standardise(self, images: Tensor) -> Tensor:
        """What `Preprocessing.standardise` does, with torch: twice as fast, and equal to the last bit."""
        values = images.reshape(len(images), -1).float().mul_(self._scale).sub_(self._shift)
        return values.view(images.shape).permute(0, 3, 1, 2)

    def _check(self) -> None:
        if self.batch_size < 1:
            raise DataError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.seed < 0:
            raise DataError(f"the seed must be 0 or more, got {self.seed}")
        wanted = (self.preprocessing.height, self.preprocessing.width, self.preprocessing.channels)
        if self.images.images.shape[1:] != wanted:
            raise DataError(
                f"images of shape {self.images.images.shape[1:]} do not fit preprocessing to {wanted}; "
                "load the data with the same image size and channels"
            )
        if not len(self):
            raise DataError(
                f"{len(self.images)} images make no batch of {self.batch_size}; "
                "add images or take a smaller batch size"
            )
