"""Learning from another prediction instead of the labels: divergences, and how they mix with the labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anytimenet.nets.contract import Output
from anytimenet.schemes.hooks import Lesson


def divergence(teacher: Output, student: Output, temperature: float = 1.0) -> Tensor:
    """KL(softmax(teacher / T) || softmax(student / T)), summed over the label levels; no factor T^2.

    Logits are `(N, classes, ...)`; the mean is over the batch and over the positions of a label map, not over
    the classes. The teacher gets no gradient; its map is resized to that of the student where they differ.

    >>> same = (torch.tensor([[1.0, 2.0]]),)
    >>> divergence(same, same).item()
    0.0
    """
    terms = []
    for given, learned in zip(teacher, student, strict=True):
        target = (_resized(_precise(given.detach()), learned) / temperature).log_softmax(1)
        predicted = (_precise(learned) / temperature).log_softmax(1)
        terms.append(F.kl_div(predicted, target, reduction="none", log_target=True).sum(1).mean())
    return _sum(terms)


def soft_cross_entropy(targets: Output, student: Output) -> Tensor:
    """Cross-entropy of softmax(student) against probabilities, summed over the label levels.

    `targets` and the logits of `student` are `(N, classes, ...)`; the mean is over the batch and over the
    positions of a label map. Targets get no gradient; those that sum to less than 1 weigh that much less.

    >>> soft_cross_entropy((torch.tensor([[0.5, 0.5]]),), (torch.zeros(1, 2),)).item()
    0.693147...
    """
    terms = [
        -(target.detach() * _precise(learned).log_softmax(1)).sum(1).mean()
        for target, learned in zip(targets, student, strict=True)
    ]
    return _sum(terms)


def probabilities(output: Output) -> Output:
    """The softmax of each label level."""
    return tuple(_precise(logits).softmax(1) for logits in output)


def resized(maps: Output, like: Output) -> Output:
    """Maps at the resolution of `like`, bilinearly; unchanged where they have it, or are no maps."""
    return tuple(_resized(one, other) for one, other in zip(maps, like, strict=True))


@dataclass(frozen=True)
class SoftLoss:
    """The loss of a stage that has a teacher: `label_weight * CE + mixing * [T^2] * KL(teacher || stage)`.

    Args:
        mixing: how much the teacher counts, in [0, 1].
        temperature: T, which divides the logits of both.
        squared_temperature: whether T^2 multiplies the divergence, so that its gradient does not shrink as T
            grows.
        label_weight: how much the labels count; None for `1 - mixing`.

    Raises:
        ValueError: for a number out of its range, or a stage that would learn nothing.
    """

    mixing: float
    temperature: float = 1.0
    squared_temperature: bool = False
    label_weight: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.mixing <= 1:
            raise ValueError(f"mixing {self.mixing}: how much a teacher counts is a number from 0 to 1")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise ValueError(f"temperature {self.temperature}: it must be a positive number")
        if self.label_weight is None:
            return
        if not (self.label_weight >= 0 and math.isfinite(self.label_weight)):
            raise ValueError(f"label_weight {self.label_weight}: it must be a number of 0 or more")
        if self.label_weight == self.mixing == 0:
            raise ValueError("label_weight and mixing are both 0: the stages would learn nothing, raise one")

    @property
    def weight_of_labels(self) -> float:
        """How much the labels count."""
        return 1 - self.mixing if self.label_weight is None else self.label_weight

    def __call__(
        self, output: Output, teacher: Output, lesson: Lesson, others: Sequence[Output] = ()
    ) -> Tensor:
        """The loss of one stage's output; a term that weighs nothing is not computed.

        With `others` the divergence is the mean over all teachers.
        """
        terms = []
        if self.weight_of_labels:
            terms.append(_times(self.weight_of_labels, lesson.criterion(output, lesson.labels)))
        if self.mixing:
            factor = self.mixing * (self.temperature**2 if self.squared_temperature else 1)
            apart = [divergence(each, output, self.temperature) for each in (teacher, *others)]
            terms.append(_times(factor / len(apart), _sum(apart)))
        return _sum(terms)


def _times(factor: float, loss: Tensor) -> Tensor:
    return loss if factor == 1 else factor * loss


def _sum(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum() if len(terms) > 1 else terms[0]


def _precise(logits: Tensor) -> Tensor:
    """At least float32: half precision has too few digits for a softmax."""
    return logits if logits.dtype == torch.float64 else logits.float()


def _resized(one: Tensor, other: Tensor) -> Tensor:
    if one.shape[2:] == other.shape[2:]:
        return one
    return F.interpolate(one, size=other.shape[2:], mode="bilinear", align_corners=False)
