"""What a task owns, so that nothing else assumes one label per image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from anytimenet.core.answers.probabilities import softmax
from anytimenet.core.images.augmentation import BatchAugmentation, FileAugmentation
from anytimenet.core.scores import ScoreSpec

Labels = tuple[Tensor, ...]
"""The ground truth of a batch, one tensor per label level, fine level first."""


def probabilities(output: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Logits `(N, classes, ...)` of each label level as probabilities, float64 on the CPU."""
    return tuple(torch.from_numpy(softmax(logits.detach().double().cpu(), axis=1)) for logits in output)


class Meter(Protocol):
    """Collects one validation score per stage, higher is better."""

    def update(self, stage: int, output: tuple[Tensor, ...], labels: Labels) -> None:
        """Adds one batch."""

    def add_up(self, stages: Sequence[int], total: Callable[[Tensor], Tensor]) -> None:
        """Adds what the meters of other processes counted; `total` sums a tensor over all of them.

        `stages` are those that any process may have seen: all sum the same tensors in the same order.
        """

    def scores(self) -> Mapping[int, float]:
        """The headline score of each stage seen."""

    def stage_scores(self, stage: int) -> Mapping[str, Any]:
        """Every score of a stage, by the keys of the task's `scores`."""


@runtime_checkable
class Task(Protocol):
    """Loss, scores, augmentation and decoding of what is predicted."""

    @property
    def kind(self) -> str:
        """Its name in bundles and reports; see `register_task`."""

    @property
    def scores(self) -> tuple[ScoreSpec, ...]:
        """What its meters measure, the headline first: validation chooses by that."""

    @property
    def num_classes(self) -> tuple[int, ...]:
        """Classes of each label level, fine level first."""

    @property
    def augmentation(self) -> BatchAugmentation | FileAugmentation | None:
        """Changes training batches; None leaves them as they are."""

    def loss(self, output: tuple[Tensor, ...], labels: Labels) -> Tensor:
        """The loss of one stage, a scalar, mean over the batch."""

    def meter(self) -> Meter:
        """A fresh meter."""

    def decode(self, output: tuple[Tensor, ...]) -> Any:
        """What a person wants to read from one stage's logits."""
