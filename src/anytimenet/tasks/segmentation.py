"""Semantic segmentation: a class for every pixel; cross-entropy, mean intersection over union, label maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anytimenet.core.checks import instance, number, numbers, optional, settle, whole_numbers
from anytimenet.core.errors import require
from anytimenet.core.images.augmentation import BatchAugmentation
from anytimenet.core.labels.confusion import mean_iou, pixel_accuracy
from anytimenet.core.labels.mask_classes import IGNORED
from anytimenet.core.scores import SEGMENTATION, ScoreSpec
from anytimenet.tasks.task import Labels, probabilities


@dataclass(frozen=True)
class Segmentation:
    """One class per pixel; where a mask holds `IGNORED` no label is learnt and nothing is counted.

    The net gives logits `(N, classes, h, w)` at the resolution of its features; loss and scores are those of
    the logits resized bilinearly to the masks, as in "Fully Convolutional Networks for Semantic
    Segmentation" (Long, Shelhamer, Darrell 2015).

    Args:
        num_classes: the number of classes, 255 at most, in a tuple of one label level.
        class_weights: weight of each class in the loss; None weighs all alike.
        label_smoothing: share of the target spread over all classes, in [0, 1).
        augmentation: changes uint8 training images and masks together: `data.MaskAugmentation()`.

    Raises:
        ValueError: for several label levels, too many classes, or weights that are no positive sum of
            numbers, one a class.

    >>> task = Segmentation((4,))
    >>> round(task.loss((torch.zeros(2, 4, 1, 1),), (torch.zeros(2, 3, 5, dtype=torch.long),)).item(), 4)
    1.3863
    """

    num_classes: tuple[int, ...]
    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0
    augmentation: BatchAugmentation | None = None
    kind: ClassVar[str] = "segmentation"
    scores: ClassVar[tuple[ScoreSpec, ...]] = SEGMENTATION

    def __post_init__(self) -> None:
        settle(self, "num_classes", whole_numbers, 1)
        if len(self.num_classes) != 1:
            raise ValueError(
                f"num_classes: segmentation has one label level and {self.num_classes} names "
                f"{len(self.num_classes)}: give the number of classes alone, for example (11,)"
            )
        settle(self, "label_smoothing", number, 0, below=1)
        if self.num_classes[0] > IGNORED:
            raise ValueError(
                f"num_classes: {self.num_classes[0]} classes are too many, one byte a pixel has room for "
                f"{IGNORED} at most"
            )
        settle(self, "class_weights", optional, numbers, 0)
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", tuple(map(float, self.class_weights)))
            _check_weights(self.class_weights, self.num_classes[0])
        if self.augmentation is not None:
            instance(self.augmentation, BatchAugmentation, "augmentation", "MaskAugmentation(pad=4)")

    def loss(self, output: tuple[Tensor, ...], labels: Labels) -> Tensor:
        """Mean cross-entropy over the counted pixels of the batch, a scalar; 0 where all are `IGNORED`.

        With class weights it is the weighted mean: a pixel counts with the weight of its class. Where several
        processes share a batch each takes the mean over its own pixels, and the gradients of these means are
        averaged; that is the mean over all pixels only if as many are counted in each process.

        Args:
            output: one tensor of logits `(N, classes, h, w)`.
            labels: one int64 mask `(N, H, W)`.
        """
        logits, mask = self._at_mask(output, labels)
        weights = None
        if self.class_weights is not None:
            weights = torch.tensor(self.class_weights, dtype=logits.dtype, device=logits.device)
        total = F.cross_entropy(
            logits,
            mask,
            weights,
            ignore_index=IGNORED,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        counted = mask != IGNORED
        if weights is None:
            return total / counted.sum().clamp(min=1)
        weight = (weights[torch.where(counted, mask, 0)] * counted).sum()
        return total / torch.where(weight > 0, weight, 1.0)

    def meter(self) -> SegmentationMeter:
        """A fresh meter of mean intersection over union."""
        return SegmentationMeter(self)

    def decode(self, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Probabilities `(N, classes, h, w)` of each level, at the resolution of the logits.

        `class_map` answers at the size of a picture.
        """
        return probabilities(output)

    def class_map(self, output: tuple[Tensor, ...], size: Sequence[int]) -> Tensor:
        """The most probable class of every pixel of a picture of `size` (H, W): uint8 `(N, H, W)`."""
        return _resized(output[0], size).argmax(dim=1).to(torch.uint8)

    def _at_mask(self, output: tuple[Tensor, ...], labels: Labels) -> tuple[Tensor, Tensor]:
        if len(output) != 1 or len(labels) != 1 or output[0].ndim != 4 or labels[0].ndim != 3:
            shapes = [tuple(tensor.shape) for tensor in (*output, *labels)]
            raise ValueError(
                "segmentation reads one tensor of logits (N, classes, h, w) and one mask (N, H, W), not "
                f"{shapes}: take a segmentation net, such as fcn_exits"
            )
        return _resized(output[0], labels[0].shape[1:]), labels[0]


class SegmentationMeter:
    """Counts true against answered classes of pixels, stage by stage; ignored pixels do not count."""

    def __init__(self, task: Segmentation) -> None:
        self._task = task
        self._metrics: dict[int, Any] = {}

    def update(self, stage: int, output: tuple[Tensor, ...], labels: Labels) -> None:
        """Adds one batch of logits `(N, classes, h, w)` and masks `(N, H, W)`."""
        logits, mask = self._task._at_mask(output, labels)
        self._metric(stage).to(logits.device).update(logits.argmax(1), mask)

    def add_up(self, stages: Sequence[int], total: Callable[[Tensor], Tensor]) -> None:
        """Adds what the meters of other processes counted; see `Meter.add_up`."""
        for stage in stages:
            metric = self._metric(stage)
            metric.confmat = total(metric.confmat)

    def scores(self) -> Mapping[int, float]:
        """Mean intersection over union, in [0, 1], of each stage seen; absent classes are left out."""
        return {stage: mean_iou(self.confusion(stage)) for stage in self._metrics}

    def stage_scores(self, stage: int) -> Mapping[str, float]:
        """Mean IoU and pixel accuracy of a stage."""
        confusion = self.confusion(stage)
        return {"mean_iou": mean_iou(confusion), "pixel_accuracy": pixel_accuracy(confusion)}

    def confusion(self, stage: int) -> np.ndarray:
        """The counts of a stage: int64 `(classes, classes)`, the truth in rows, the answers in columns."""
        counts: np.ndarray = self._metric(stage).confmat.cpu().numpy()
        return counts

    def _metric(self, stage: int) -> Any:
        if stage not in self._metrics:
            classification = require("torchmetrics.classification", "train")
            # Counts are added up by `add_up` alone, never by a hidden exchange.
            self._metrics[stage] = classification.MulticlassConfusionMatrix(
                self._task.num_classes[0],
                ignore_index=IGNORED,
                validate_args=False,
                sync_on_compute=False,
            )
        return self._metrics[stage]


def _resized(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits `(N, classes, H, W)` in float32 at least, bilinear between the centres of their pixels."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if tuple(logits.shape[2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)


def _check_weights(weights: tuple[float, ...], classes: int) -> None:
    good = len(weights) == classes and all(math.isfinite(w) and w >= 0 for w in weights) and any(weights)
    if not good:
        raise ValueError(
            f"class_weights {weights}: {classes} finite numbers from 0 on, not all of them 0, are needed"
        )
