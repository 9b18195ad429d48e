"""Batches of standardised images, in an order that depends on seed, epoch and batch alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images.augmentation import BatchAugmentation
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data.augment.mixing import Mixing
from anytimenet.data.batches.batching import AUGMENT, Batching, Finishing
from anytimenet.data.batches.sharding import WHOLE, Shard
from anytimenet.data.sets.image_set import ImageSet, MaskSet

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from anytimenet.data.batches.batching import Batch, BatchPlan


class Loader:
    """Batches `(x, y)` of an image set.

    `x` is float32 `(N, C, H, W)`, standardised, in channels_last memory; `y` holds one int64 `(N,)` per
    label level, fine level first; with `mixing` float32 probabilities `(N, classes)`; of a `MaskSet` one
    int64 `(N, H, W)`. Batch b of epoch e is a function of (seed, e, b) and nothing else, so a run resumes in
    the middle of an epoch without stored generators. On the CPU images are augmented by a loop of slices; on
    another device the whole set is kept there and batches are gathered.

    Args:
        batch_size: images of a batch, those of all processes together.
        augment: of training batches.
        mixing: mixup or CutMix of training batches; needs `num_classes`.
        num_classes: classes of each label level.
        shard: the share of every batch that this process reads. All shares together are the batch that one
            process reads, bit for bit.

    Raises:
        DataError: for a batch size below 1, a negative seed, images that do not fit `preprocessing`, no
            batch at all, or a batch that processes cannot share.

    >>> images = ImageSet(np.zeros((5, 2, 2, 1), np.uint8), np.zeros((5, 1), np.int64), tuple("abcde"))
    >>> loader = Loader(images, Preprocessing(2, 2, 1, (0.5,), (0.5,)), batch_size=2, shuffle=True)
    >>> len(loader), [tuple(x.shape) for x, _ in loader.epoch(0)]
    (3, [(2, 1, 2, 2), (2, 1, 2, 2), (1, 1, 2, 2)])
    >>> len(list(loader.epoch(0, start=2)))
    1
    """

    def __init__(
        self,
        images: ImageSet | MaskSet,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        augment: BatchAugmentation | None = None,
        mixing: Mixing | None = None,
        num_classes: tuple[int, ...] = (),
        shuffle: bool = False,
        seed: int = 0,
        device: str | torch.device = "cpu",
        drop_last: bool = False,
        shard: Shard = WHOLE,
    ) -> None:
        import torch

        self.images = images
        self.preprocessing = preprocessing
        self.augment = augment
        self.device = torch.device(device)
        self.batching = Batching(len(images), batch_size, shuffle, seed, drop_last, shard, mixing)
        self._check()
        if mixing is not None and isinstance(images, MaskSet):
            raise DataError(
                "mixup and CutMix mix the labels of whole images, and these have masks: leave them out"
            )
        levels = 1 if isinstance(images, MaskSet) else images.labels.shape[1]
        self._finish = Finishing(preprocessing, self.device, self.batching, num_classes, levels)
        self._resident: tuple[Tensor, Tensor] | None = None

    def __len__(self) -> int:
        """Batches in an epoch; the last may be smaller unless `drop_last`."""
        return len(self.batching)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` (from 0), from batch `start` on.

        Raises:
            DataError: if there is no such epoch or batch.
        """
        for plan in self.batching.plans(number, start):
            yield self._finish(plan, *self._take(plan))

    def _take(self, plan: BatchPlan) -> tuple[Tensor, Tensor]:
        """The uint8 images and the labels that this process needs of a batch, augmented."""
        take = self._from_memory if self.device.type == "cpu" else self._from_device
        rng = np.random.default_rng((AUGMENT, self.batching.seed, plan.epoch, plan.number))
        if self.augment is None:
            return take(plan.indices[plan.needed], rng)
        # All of the batch, whatever the share: an augmentation may draw as it likes, and takes about
        # 3 microseconds an image.
        images, labels = take(plan.indices, rng)
        return images[plan.needed], labels[plan.needed]

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

    def _check(self) -> None:
        wanted = (self.preprocessing.height, self.preprocessing.width, self.preprocessing.channels)
        if self.images.images.shape[1:] != wanted:
            raise DataError(
                f"images of shape {self.images.images.shape[1:]} do not fit preprocessing to {wanted}; "
                "load the data with the same image size and channels"
            )
