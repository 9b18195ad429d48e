"""Batches of images that are decoded while training goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images.augmentation import FileAugmentation
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data.augment.large_images import LargeImageAugmentation
from anytimenet.data.augment.mixing import Mixing
from anytimenet.data.batches.batching import IMAGE, Batching, Finishing
from anytimenet.data.batches.sharding import WHOLE, Shard
from anytimenet.data.sets.image_set import ImageFiles

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from anytimenet.data.batches.batching import Batch, BatchPlan


class StreamLoader:
    """Batches `(x, y)` of image files, with the same protocol as `Loader`.

    The random numbers of an image follow from (seed, epoch, its place in the epoch), so batches depend
    neither on the number of worker processes nor on that of training processes, and a run resumes in the
    middle of an epoch without decoding what was there before. Worker processes live for one epoch and end
    with it, or when the iterator is closed.

    Args:
        files: what is read.
        preprocessing: size, channels and standardisation.
        batch_size: images of a batch, those of all processes together.
        transform: reads a training image; None reads as `preprocessing.decode`.
        mixing: mixup or CutMix of training batches; needs `num_classes`.
        num_classes: classes of each label level.
        workers: processes that decode; 0 decodes in this one.
        shard: the share of every batch that this process reads.

    Raises:
        DataError: for what `Loader` refuses, and a negative number of workers. Batches raise it for a file
            that cannot be read, naming the file.

    >>> files = ImageFiles(Path("photos"), np.array([[0], [1]]), ("cat/1.jpg", "dog/1.jpg"))
    >>> preprocessing = Preprocessing(224, 224, 3, (0.5,) * 3, (0.25,) * 3, shorter_side=256)
    >>> len(StreamLoader(files, preprocessing, batch_size=2, workers=2))
    1
    """

    def __init__(
        self,
        files: ImageFiles,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        transform: FileAugmentation | None = None,
        mixing: Mixing | None = None,
        num_classes: tuple[int, ...] = (),
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 0,
        device: str | torch.device = "cpu",
        drop_last: bool = False,
        shard: Shard = WHOLE,
    ) -> None:
        import torch

        if workers < 0:
            raise DataError(f"workers must be 0 or more processes, got {workers}")
        self.files = files
        self.workers = workers
        self.device = torch.device(device)
        self.batching = Batching(len(files), batch_size, shuffle, seed, drop_last, shard, mixing)
        if isinstance(transform, LargeImageAugmentation):
            transform = transform.settled()  # torchvision is imported once, before workers are forked
        self._read = _Reader(files.root, preprocessing, transform, seed)
        levels = files.labels.shape[1]
        self._finish = Finishing(preprocessing, self.device, self.batching, num_classes, levels)

    def __len__(self) -> int:
        """Batches in an epoch; the last may be smaller unless `drop_last`."""
        return len(self.batching)

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """The batches of epoch `number` (from 0), from batch `start` on.

        Raises:
            DataError: if there is no such epoch or batch, or a file cannot be read.
        """
        import torch

        plans = list(self.batching.plans(number, start))
        batches = self._decoded([self._request(plan) for plan in plans])
        try:
            for plan in plans:
                images = _next(batches)
                labels = torch.from_numpy(self.files.labels[plan.indices[plan.needed]])
                yield self._finish(plan, *(t.to(self.device, non_blocking=True) for t in (images, labels)))
        finally:
            del batches  # ends the workers

    def _request(self, plan: BatchPlan) -> _Request:
        # Names travel with each batch: a worker that held all of them would copy their memory little by
        # little, a reference count at a time.
        names = tuple(self.files.names[i] for i in plan.indices[plan.needed])
        return _Request(plan.epoch, plan.first + plan.needed.start, names)

    def _decoded(self, requests: list[_Request]) -> Iterator[Tensor | str]:
        """Of each request the uint8 images `(N, H, W, C)`, or why they cannot be read."""
        if not self.workers:
            return map(self._read.__getitem__, requests)
        import torch
        from torch.utils.data import DataLoader

        return iter(
            DataLoader(
                cast(Any, self._read),
                batch_size=None,  # a request is a whole batch
                sampler=_Requests(requests),
                num_workers=min(self.workers, len(requests)),
                collate_fn=_as_it_is,
                pin_memory=self.device.type == "cuda",
                generator=torch.Generator(),  # else it would draw from the global one
            )
        )


@dataclass(frozen=True)
class _Request:
    """Images that a worker reads: their names, and the place in the epoch of the first."""

    epoch: int
    first: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class _Requests:
    """What a DataLoader takes for a sampler."""

    requests: list[_Request]

    def __iter__(self) -> Iterator[_Request]:
        return iter(self.requests)

    def __len__(self) -> int:
        return len(self.requests)


class _Reader:
    """What a worker process runs; small, so that it starts quickly where it is pickled."""

    def __init__(
        self, root: Path, preprocessing: Preprocessing, transform: FileAugmentation | None, seed: int
    ) -> None:
        self._root, self._preprocessing, self._transform, self._seed = root, preprocessing, transform, seed

    def __getitem__(self, request: _Request) -> Tensor | str:
        """The images as one tensor, or a message: an exception would arrive as the worker's traceback."""
        import torch

        try:
            images = [self._image(name, request, i) for i, name in enumerate(request.names)]
        except DataError as error:
            return str(error)
        return torch.from_numpy(np.stack(images))

    def _image(self, name: str, request: _Request, i: int) -> np.ndarray:
        path = self._root / name
        if self._transform is None:
            return self._preprocessing.decode(path)
        rng = np.random.default_rng((IMAGE, self._seed, request.epoch, request.first + i))
        return self._transform.read_image(path, self._preprocessing, rng)


def _next(batches: Iterator[Any]) -> Tensor:
    try:
        found: Tensor | str = next(batches)
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise DataError(
            "a process that reads images was ended from outside, most often for lack of memory; "
            "use fewer processes (workers=N) or a smaller batch_size=N"
        ) from error
    if isinstance(found, str):
        raise DataError(found)
    return found


def _as_it_is(decoded: Iterable[Any]) -> Iterable[Any]:
    return decoded
