"""Image classification: cross-entropy, accuracy, one label for each level."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from anytimenet.core.checks import instance, number, settle, whole_numbers
from anytimenet.core.errors import require
from anytimenet.core.images.augmentation import BatchAugmentation, FileAugmentation
from anytimenet.core.scores import CLASSIFICATION, ScoreSpec
from anytimenet.tasks.task import Labels, probabilities


@dataclass(frozen=True)
class Classification:
    """One class per image and label level.

    The loss is the sum over the levels of the mean cross-entropy (sliced-networks paper, equation 2; with
    one level equation 1); the metric is top-1 accuracy of the fine level.

    Args:
        num_classes: classes of each level, fine level first.
        label_smoothing: share of the target spread over all classes, in [0, 1).
        augmentation: changes a uint8 training batch, for example `data.Augmentation(flip=True, pad=4)`, or
            reads a training image from its file, as `data.LargeImageAugmentation()` does.

    >>> task = Classification((4,))
    >>> round(task.loss((torch.zeros(2, 4),), (torch.tensor([0, 3]),)).item(), 4)
    1.3863
    """

    num_classes: tuple[int, ...]
    label_smoothing: float = 0.0
    augmentation: BatchAugmentation | FileAugmentation | None = None
    scores: ClassVar[tuple[ScoreSpec, ...]] = CLASSIFICATION

    def __post_init__(self) -> None:
        settle(self, "num_classes", whole_numbers, 1)
        settle(self, "label_smoothing", number, 0, below=1)
        if self.augmentation is not None:
            kinds = (BatchAugmentation, FileAugmentation)
            instance(self.augmentation, kinds, "augmentation", "Augmentation(flip=True, pad=4)")

    @property
    def kind(self) -> str:
        """ "hierarchical" with several label levels, else "classification"."""
        return "hierarchical" if len(self.num_classes) > 1 else "classification"

    def loss(self, output: tuple[Tensor, ...], labels: Labels) -> Tensor:
        """Sum over the levels of the mean cross-entropy; logits `(N, classes, ...)`.

        The labels of a level are int64 `(N, ...)`, or float probabilities shaped like the logits, as mixed
        images have them; smoothing spreads its share of either.
        """
        if len(output) != len(labels):
            raise ValueError(
                f"the net predicts {len(output)} label level(s) and the data has {len(labels)}; "
                "build the net with one entry of num_classes per level"
            )
        terms = [
            F.cross_entropy(logits.float(), target, label_smoothing=self.label_smoothing)
            for logits, target in zip(output, labels, strict=True)
        ]
        return torch.stack(terms).sum() if len(terms) > 1 else terms[0]

    def meter(self) -> AccuracyMeter:
        """A fresh accuracy meter."""
        return AccuracyMeter(self.num_classes[0])

    def decode(self, output: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Probabilities `(N, classes)` of each level."""
        return probabilities(output)


class AccuracyMeter:
    """Top-1 accuracy of the fine level for each stage."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._metrics: dict[int, Any] = {}

    def update(self, stage: int, output: tuple[Tensor, ...], labels: Labels) -> None:
        """Adds one batch of `(N, classes)` logits and `(N,)` labels."""
        self._metric(stage).to(output[0].device).update(output[0].argmax(1), labels[0])

    def add_up(self, stages: Sequence[int], total: Callable[[Tensor], Tensor]) -> None:
        """Adds what the meters of other processes counted; see `Meter.add_up`."""
        for stage in stages:
            metric = self._metric(stage)
            saw_images = metric.update_called
            if not saw_images:  # the metric refuses to compute before its first update
                metric.update(*(torch.zeros(1, dtype=torch.long),) * 2)
            for count in ("tp", "fp", "tn", "fn"):
                setattr(metric, count, total(getattr(metric, count) * saw_images))

    def scores(self) -> Mapping[int, float]:
        """Accuracy in [0, 1] of each stage seen."""
        return {stage: float(metric.compute()) for stage, metric in self._metrics.items()}

    def stage_scores(self, stage: int) -> Mapping[str, float]:
        """Accuracy of a stage alone; `evaluation.make_report` measures more."""
        return {"top1": float(self._metric(stage).compute())}

    def _metric(self, stage: int) -> Any:
        if stage not in self._metrics:
            classification = require("torchmetrics.classification", "train")
            # Counts are added up by `add_up` alone, never by a hidden exchange.
            self._metrics[stage] = classification.MulticlassAccuracy(
                self._num_classes, average="micro", validate_args=False, sync_on_compute=False
            )
        return self._metrics[stage]
