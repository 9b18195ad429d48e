"""Features that are computed once, for as many views of each image as memory, or a file, has room for."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from anytimenet.core.errors import DataError
from anytimenet.data.reading.memory import machine_memory
from anytimenet.training.features import (
    SILENT,
    Examples,
    FeatureSource,
    LiveFeatures,
    Progress,
    Read,
)
from anytimenet.training.validation import Batches

BATCH = 128
"""Examples of a step in which heads alone learn."""


@dataclass(frozen=True)
class Room:
    """How many bytes features may take.

    Attributes:
        memory: of this machine.
        disc: of a temporary file, where the memory does not hold one view of each image.
        folder: of that file; None for the system's.
    """

    memory: int
    disc: int
    folder: Path | None = None

    @classmethod
    def here(cls, folder: Path | None = None, processes: int = 1) -> Room:
        """A quarter of this machine's memory and half of the disc that is free, shared by `processes`."""
        memory = machine_memory() or 2**32
        place = tempfile.gettempdir() if folder is None else folder
        return cls(memory // 4 // processes, shutil.disk_usage(place).free // 2 // processes, folder)


def features_of(
    read: Read,
    images: Batches,
    *,
    views: int,
    seed: int,
    room: Room,
    device: torch.device,
    progress: Progress = SILENT,
    batch: int = BATCH,
) -> FeatureSource:
    """What heads read of `images`, whose epoch v is view v: stored if there is room, else computed anew.

    Args:
        read: runs the backbone.
        images: shuffled batches.
        views: of each image; of fewer than these where the memory does not hold all.
        seed: of the order in which stored features are read.
        room: how much may be stored.
        device: where the heads are.
        progress: is told of every batch.
        batch: examples of a step, where features are stored.
    """
    x, labels = next(iter(images.epoch(0)))
    example = read(x, labels)
    view_bytes = sum(tensor.nbytes for tensor in example.tensors) * len(images)
    in_memory = view_bytes <= room.memory
    if not in_memory and view_bytes > room.disc:
        return LiveFeatures(read, images)
    views = min(views, (room.memory if in_memory else room.disc) // view_bytes)
    rows = views * len(images) * len(x)
    columns = [_column(tensor, rows, None if in_memory else room) for tensor in example.tensors]
    progress.phase("the backbone reads the images", views * len(images))
    count = _fill(columns, read, images, views, progress)
    columns = [column[:count] for column in columns]
    kept = "in memory" if in_memory else "in a file"
    return StoredFeatures(example, columns, views, seed, device, kept, batch)


class StoredFeatures:
    """Features of some views of every image, read in another order in every epoch.

    An epoch has as many examples as there are images. Every so many epochs as there are views all have been
    seen once.

    Args:
        form: any examples of that form.
        columns: its tensors, with a row for each image and view.
        views: of each image.
        seed: of the order.
        device: where the batches go.
        kept: where the columns are, in words.
        batch: examples of a step.
    """

    def __init__(
        self,
        form: Examples,
        columns: Sequence[Tensor],
        views: int,
        seed: int,
        device: torch.device,
        kept: str = "in memory",
        batch: int = BATCH,
    ) -> None:
        self.columns, self.views, self.kept = list(columns), views, kept
        self._batch = batch
        self._form, self._seed, self._device = form, seed, device
        self._images = len(columns[0]) // views

    def __len__(self) -> int:
        """Batches of an epoch, as large as each other but for one example."""
        return math.ceil(self._images / self._batch)

    def epoch(self, number: int) -> Iterator[Examples]:
        """The batches of an epoch."""
        for rows in self.rows(number):
            chosen = torch.from_numpy(rows)
            yield self._form.of([column[chosen].to(self._device) for column in self.columns])

    def rows(self, number: int) -> list[np.ndarray]:
        """The rows of each batch of an epoch; in each they rise, for a file is read forwards."""
        round_, part = divmod(number, self.views)
        order = np.random.default_rng((self._seed, round_)).permutation(len(self.columns[0]))
        own = order[part * self._images :][: self._images]
        return [np.sort(rows) for rows in np.array_split(own, len(self))]


def _fill(columns: Sequence[Tensor], read: Read, images: Batches, views: int, progress: Progress) -> int:
    """Reads all views into the columns; returns how many rows there are."""
    count = 0
    for view in range(views):
        for x, labels in images.epoch(view):
            stop = count + len(x)
            if stop > len(columns[0]):
                raise DataError("the first batch of training images is smaller than others")
            for column, tensor in zip(columns, read(x, labels).tensors, strict=True):
                column[count:stop].copy_(tensor)
            count = stop
            progress.step()
    return count


def _column(example: Tensor, rows: int, room: Room | None) -> Tensor:
    """Room for so many rows. A file of them has no name, so that nothing is left when the process ends."""
    shape, dtype = (rows, *example.shape[1:]), example.dtype
    if room is None:
        return torch.empty(shape, dtype=dtype)
    with tempfile.TemporaryFile(dir=room.folder) as file:
        row = max(1, math.prod(shape[1:])) * example.element_size()
        raw = np.memmap(file, np.uint8, "w+", shape=(rows, row))
    return torch.from_numpy(raw).view(dtype).view(shape)
