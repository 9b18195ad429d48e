"""Which images make which batch, and how a batch of bytes becomes what a net reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data.augment.mixing import Mixing, with_partners
from anytimenet.data.batches.sharding import WHOLE, Shard

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Batch = tuple[Tensor, tuple[Tensor, ...]]

# Keep the generators of an epoch's order, of its batches, of its images and of their mixing apart.
ORDER, AUGMENT, IMAGE, MIX = 1, 2, 3, 4


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """One batch of one epoch before its images are read.

    Attributes:
        epoch, number: which batch of which epoch, both from 0.
        first: place of the batch's first image in the epoch.
        indices: int64, the images of the whole batch.
        rows: the places in the batch that this process trains on.
        needed: the places that it must read for that, mixing partners included.
    """

    epoch: int
    number: int
    first: int
    indices: np.ndarray
    rows: slice
    needed: slice


@dataclass(frozen=True)
class Batching:
    """The order of the images of every epoch, a function of seed, epoch and batch and nothing else.

    Raises:
        DataError: for a batch size below 1, a negative seed, no batch at all, or a batch that cannot be
            shared evenly by processes that train together.
    """

    count: int
    batch_size: int
    shuffle: bool = False
    seed: int = 0
    drop_last: bool = False
    shard: Shard = WHOLE
    mixing: Mixing | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise DataError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.seed < 0:
            raise DataError(f"the seed must be 0 or more, got {self.seed}")
        if not len(self):
            raise DataError(
                f"{self.count} images make no batch of {self.batch_size}; "
                "add images or take a smaller batch size"
            )
        self.shard.check(self.batch_size, drop_last=self.drop_last)

    def __len__(self) -> int:
        """Batches in an epoch; the last may be smaller unless `drop_last`."""
        full, rest = divmod(self.count, self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def plans(self, epoch: int, start: int = 0) -> Iterator[BatchPlan]:
        """The batches of an epoch from `start` on; those of which this process reads nothing are left out.

        Raises:
            DataError: if there is no such epoch or batch.
        """
        if epoch < 0 or not 0 <= start <= len(self):
            raise DataError(f"epoch {epoch} from batch {start}: both count from 0, up to batch {len(self)}")
        order = self._order(epoch)
        for number in range(start, len(self)):
            first = number * self.batch_size
            indices = order[first : first + self.batch_size]
            rows = self.shard.of(len(indices))
            if rows.start < rows.stop:
                needed = with_partners(rows, len(indices)) if self.mixing else rows
                yield BatchPlan(epoch, number, first, indices, rows, needed)

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.count)
        return np.random.default_rng((ORDER, self.seed, epoch)).permutation(self.count)


class Finishing:
    """Standardises, mixes and shares out the uint8 images of a batch, on the device where they lie.

    Raises:
        DataError: if labels are to be mixed and the numbers of classes are not known.
    """

    def __init__(
        self,
        preprocessing: Preprocessing,
        device: torch.device,
        batching: Batching,
        num_classes: tuple[int, ...],
        levels: int,
    ) -> None:
        import torch

        if batching.mixing is not None and len(num_classes) != levels:
            raise DataError(
                f"mixing needs the number of classes of each of {levels} label level(s), got {num_classes}: "
                "give num_classes"
            )
        self._seed, self._mixing, self._num_classes = batching.seed, batching.mixing, num_classes
        rows = preprocessing.scale_and_shift_rows
        self._scale, self._shift = (torch.tensor(row, device=device) for row in rows)

    def __call__(self, plan: BatchPlan, images: Tensor, labels: Tensor) -> Batch:
        """`(x, y)` of this process from the images `(N, H, W, C)` and labels that it needed.

        Labels are int64 `(N, levels)`, or uint8 masks `(N, H, W)`.
        """
        values = self._standardise(images)
        if labels.ndim == 3:
            return values.permute(0, 3, 1, 2), (labels.long(),)
        levels = labels.unbind(dim=1)
        if self._mixing is None:
            return values.permute(0, 3, 1, 2), tuple(level.contiguous() for level in levels)
        rng = np.random.default_rng((MIX, self._seed, plan.epoch, plan.number))
        whole = self._mixing.draw(len(plan.indices), images.shape[1], images.shape[2], rng)
        mixture = whole.rows(plan.needed)
        own = slice(plan.rows.start - plan.needed.start, plan.rows.stop - plan.needed.start)
        x = mixture.images(values)[own].permute(0, 3, 1, 2)
        classes = zip(levels, self._num_classes, strict=True)
        return x, tuple(mixture.labels(level, count)[own] for level, count in classes)

    def _standardise(self, images: Tensor) -> Tensor:
        """What `Preprocessing.standardise` does, with torch: twice as fast, and equal to the last bit."""
        values = images.reshape(len(images), -1).float().mul_(self._scale).sub_(self._shift)
        return values.view(images.shape)
