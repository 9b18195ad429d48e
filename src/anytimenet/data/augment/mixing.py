"""Mixup and CutMix: pairs of images and their labels blended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from anytimenet.core.checks import number, raised_as, settle
from anytimenet.core.errors import DataError
from anytimenet.core.records import JsonForm

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Mixing:
    """Each image of a training batch is mixed with its neighbour, and labels become probabilities.

    Mixup (Zhang et al. 2018) adds `share` of an image to `1 - share` of its partner; CutMix (Yun et al.
    2019) fills a rectangle of `1 - share` of the area with the partner's. Every image draws its own share
    from Beta(alpha, alpha). With both, each image draws one of the two with equal chance. Partners are
    neighbours, places 2i and 2i + 1 of a batch, which a shuffled epoch makes random; of an odd batch the
    last takes the one before. So a process that reads a share of the batch need not read the rest.

    Attributes:
        mixup: alpha of mixup, 0.2 is usual for ImageNet and 1 for CIFAR; 0 for none.
        cutmix: alpha of CutMix, 1 in the paper; 0 for none.

    Raises:
        TypeError: for an alpha that is no number.
        DataError: if an alpha is negative or not finite, or both are 0.

    >>> drawn = Mixing(mixup=1.0).draw(4, 8, 8, np.random.default_rng(0))
    >>> drawn.partners.tolist(), drawn.share.shape
    ([1, 0, 3, 2], (4,))
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    json_form = JsonForm(strict=True, defaults=True)

    def __post_init__(self) -> None:
        with raised_as(DataError):
            settle(self, "mixup", number, 0)
            settle(self, "cutmix", number, 0)
        if not self.mixup and not self.cutmix:
            raise DataError("mixing needs mixup or cutmix above 0; leave it out for none")

    def draw(self, count: int, height: int, width: int, rng: np.random.Generator) -> Mixture:
        """What each of `count` images of `height` x `width` pixels keeps and takes."""
        cut = np.full(count, not self.mixup)
        if self.mixup and self.cutmix:
            cut = rng.random(count) < 0.5
        kept = np.ones(count)
        if self.mixup:
            kept = np.where(cut, 1.0, rng.beta(self.mixup, self.mixup, count))
        boxes = np.zeros((count, 4), np.int64)
        if self.cutmix:
            drawn = _boxes(count, height, width, rng.beta(self.cutmix, self.cutmix, count), rng)
            boxes = np.where(cut[:, None], drawn, 0)
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        share = kept * (1 - area / (height * width))
        return Mixture(partners(count), kept.astype(np.float32), boxes, share.astype(np.float32))


@dataclass(frozen=True, eq=False)
class Mixture:
    """How the images of one batch are mixed.

    Attributes:
        partners: int64 `(N,)`, the place of each image's partner.
        kept: float32 `(N,)`, what mixup keeps of each pixel.
        boxes: int64 `(N, 4)`, top, left, bottom, right of what CutMix takes from the partner.
        share: float32 `(N,)`, probability that each image's own labels keep.
    """

    partners: np.ndarray
    kept: np.ndarray
    boxes: np.ndarray
    share: np.ndarray

    def images(self, values: Tensor) -> Tensor:
        """Mixes float `(N, H, W, C)`; a new tensor."""
        import torch

        device = values.device
        others = values[torch.from_numpy(self.partners).to(device)]
        mixed = values
        if (self.kept != 1).any():
            kept = torch.from_numpy(self.kept).to(device)[:, None, None, None]
            mixed = values * kept + others * (1 - kept)
        if self.boxes.any():
            top, left, bottom, right = torch.from_numpy(self.boxes).to(device)[:, :, None].unbind(1)
            y, x = (torch.arange(size, device=device) for size in values.shape[1:3])
            rows, columns = (y >= top) & (y < bottom), (x >= left) & (x < right)
            mixed = torch.where((rows[:, :, None] & columns[:, None])[..., None], others, mixed)
        return mixed

    def labels(self, labels: Tensor, num_classes: int) -> Tensor:
        """Probabilities float32 `(N, num_classes)` of int64 labels `(N,)` of one level."""
        import torch

        share = torch.from_numpy(self.share).to(labels.device)[:, None]
        own = torch.nn.functional.one_hot(labels, num_classes).float()
        return own * share + own[torch.from_numpy(self.partners).to(labels.device)] * (1 - share)

    def rows(self, part: slice) -> Mixture:
        """The mixture of the images `part`, which must hold the partner of each that matters.

        A partner outside is replaced by the image itself.
        """
        places = np.arange(part.start, part.stop)
        inside = self.partners[part]
        inside = np.where((inside >= part.start) & (inside < part.stop), inside, places) - part.start
        return Mixture(inside, self.kept[part], self.boxes[part], self.share[part])


def partners(count: int) -> np.ndarray:
    """The place of each image's partner in a batch of `count`.

    >>> partners(5).tolist()
    [1, 0, 3, 2, 3]
    """
    found = np.arange(count) ^ 1
    if count % 2:
        found[-1] = max(count - 2, 0)
    return found


def with_partners(rows: slice, count: int) -> slice:
    """The places that hold `rows` of a batch of `count` and their partners: at most one more on each side.

    >>> with_partners(slice(3, 6), 9)
    slice(2, 6, None)
    """
    if rows.start >= rows.stop:
        return rows
    found = partners(count)[rows]
    return slice(min(rows.start, int(found.min())), max(rows.stop, int(found.max()) + 1))


def _boxes(count: int, height: int, width: int, share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rectangles of `1 - share` of the area around random pixels, clipped to the image."""
    sizes = np.array([height, width])
    sides = (sizes * np.sqrt(1 - share)[:, None]).astype(np.int64)
    starts = rng.integers(0, sizes, (count, 2)) - sides // 2
    ends = np.minimum(starts + sides, sizes)
    return np.concatenate([np.maximum(starts, 0), ends], axis=1)
