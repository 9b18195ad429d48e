"""Stages that learn from larger stages of the same step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from anytimenet.nets.contract import AnytimeNet, Output
from anytimenet.schemes.checks import check_choice, check_whole
from anytimenet.schemes.hooks import Group, Lesson, RunFacts, Targets
from anytimenet.schemes.targets.soft import SoftLoss


@dataclass(frozen=True)
class Distillation:
    """Each stage learns from the labels and from larger stages, whose predictions are held fixed.

    The loss of a stage with logits z and of its teacher with logits t is

        label_weight * CE(labels, z) + mixing * [T^2] * KL(softmax(t / T) || softmax(z / T))

    with the mean of the divergence over the batch and its sum over the label levels, and with the mean over
    the teachers where there are several. A stage that no other
    teaches in a step, because it is the largest itself, learns the labels alone with weight 1.

    - The defaults are those of IMTA (ICCV 2019) on ImageNet; IMTA's code also divides the divergence by the
      number of classes, and trains only new heads with it.
    - Block-dependent losses distil with `mixing=0.3, temperature=1.5, squared_temperature=False,
      label_weight=1`.
    - `Distillation("later", label_weight=1)`, or "last" or "next", are the optional terms of Zero Time Waste.
    - `Distillation("largest", mixing=1)` with the sandwich is the in-place distillation of US-Nets
      (ICCV 2019).

    Args:
        teacher: "last", stage K, which must run in every step; "largest", the largest of the stages that run
            in the step; "next", the next larger one of them; "later", all larger ones of them.
        mixing: how much the teacher counts, in [0, 1].
        temperature: T, which divides the logits of teacher and stage.
        squared_temperature: whether T^2 multiplies the divergence.
        label_weight: how much the labels count; None for `1 - mixing`.
        warmup_steps: over so many steps `mixing` rises linearly from 0 to its value.

    Raises:
        ValueError: for an unknown teacher, a number out of its range, or stages that would learn nothing.

    >>> Distillation("largst")
    Traceback (most recent call last):
    ...
    ValueError: the teacher 'largst' does not exist: take one of last, largest, next, later
    """

    teacher: Literal["last", "largest", "next", "later"] = "last"
    mixing: float = 0.1
    temperature: float = 1.0
    squared_temperature: bool = True
    label_weight: float | None = None
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        check_choice("the teacher", self.teacher, _TEACHERS)
        check_whole("warmup_steps", self.warmup_steps, 0)
        self._loss()
        if self.warmup_steps and self.label_weight == 0:
            raise ValueError(
                "label_weight 0 with warm-up: the first step would teach nothing; leave label_weight out or "
                "set warmup_steps to 0"
            )

    def build(self, net: AnytimeNet, facts: RunFacts) -> Targets:
        """The targets of `net`."""
        return _Distillation(self.teacher, self._loss(), self.warmup_steps, net.num_stages)

    def _loss(self) -> SoftLoss:
        return SoftLoss(self.mixing, self.temperature, self.squared_temperature, self.label_weight)


_TEACHERS = ("last", "largest", "next", "later")


class _Distillation(Targets):
    def __init__(self, teacher: str, loss: SoftLoss, warmup_steps: int, num_stages: int) -> None:
        super().__init__()
        self.order = "descending" if teacher in ("next", "later") else "largest_first"
        self.needs = (num_stages,) if teacher == "last" else ()
        self._teacher, self._loss, self._warmup_steps = teacher, loss, warmup_steps
        self._steps = 0

    def teach(self, x: Tensor, stages: Sequence[int]) -> Mapping[int, Output]:
        self._steps += 1
        return {}

    def losses(self, group: Group, lesson: Lesson) -> list[Tensor]:
        loss = self._warmed_up()
        losses = []
        for stage, output in group:
            teachers = self._teachers_of(stage, lesson)
            if not teachers:
                losses.append(lesson.criterion(output, lesson.labels))
            else:
                first, *others = (lesson.outputs[teacher] for teacher in teachers)
                losses.append(loss(output, first, lesson, others))
        return losses

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self._steps)

    def set_extra_state(self, state: Any) -> None:
        self._steps = int(state)

    def _warmed_up(self) -> SoftLoss:
        done = max(self._steps - 1, 0)
        if done >= self._warmup_steps:
            return self._loss
        return replace(self._loss, mixing=self._loss.mixing * done / self._warmup_steps)

    def _teachers_of(self, stage: int, lesson: Lesson) -> list[int]:
        """The stages that teach `stage` in this step; none for one that learns the labels alone."""
        larger = sorted(other for other in lesson.outputs if other > stage)
        if self._teacher == "later":
            return larger
        return larger[:1] if self._teacher == "next" else larger[-1:]
