"""Teachers beside the net: its own moving average, and another net that is trained already."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from anytimenet.nets.contract import AnytimeNet, Output
from anytimenet.schemes.checks import check_choice
from anytimenet.schemes.hooks import Group, Lesson, RunFacts, Targets
from anytimenet.schemes.targets.soft import SoftLoss
from anytimenet.schemes.teacher import Teacher

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class EMATeacher:
    """Stages learn from a copy of the net whose weights are an exponential moving average of the net's.

    The copy is made in the first step and moves at the beginning of every later one, the running statistics
    of its norms with it; it predicts in eval mode. The loss of a stage that it teaches is that of
    `Distillation`.

    Source: DS-Net (CVPR 2021), where the largest stage learns the labels and the others the average's largest
    stage: the defaults. The settings that were released are these, with a momentum of 0.997 (`ds_net`).
    Deviations: in the paper the smallest stage learns the mean of the average's largest and random stages,
    which the released settings switch off; here it learns from the largest alone.

    Args:
        momentum: share of the average that each step keeps, in [0, 1).
        mixing: how much the teacher counts, in [0, 1].
        temperature: T, which divides the logits of teacher and stage.
        squared_temperature: whether T^2 multiplies the divergence.
        label_weight: how much the labels count; None for `1 - mixing`.
        source: "last", every stage but the last learns from the teacher's last, and the last learns the
            labels alone with weight 1; "same", each stage learns from the teacher's own output of that stage.

    Raises:
        ValueError: for an unknown source, a number out of its range, or stages that would learn nothing.

    >>> EMATeacher(source="same")
    Traceback (most recent call last):
    ...
    ValueError: the labels count nothing and each stage learns from its own average: lower mixing, ...
    """

    momentum: float = 0.999
    mixing: float = 1.0
    temperature: float = 1.0
    squared_temperature: bool = False
    label_weight: float | None = None
    source: Literal["same", "last"] = "last"

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(
                f"momentum {self.momentum}: what the average keeps is a number from 0 to below 1"
            )
        check_choice("the source", self.source, _SOURCES)
        loss = self._loss()
        if self.source == "same" and not loss.weight_of_labels:
            raise ValueError(
                "the labels count nothing and each stage learns from its own average: lower mixing, raise "
                "label_weight, or take the source 'last'"
            )

    def build(self, net: AnytimeNet, facts: RunFacts) -> Targets:
        """The targets of `net`.

        Raises:
            ValueError: for a net whose statistics training does not track: its average could not predict.
        """
        if not net.tracks_statistics:
            raise ValueError(
                "the averaged net predicts in eval mode, and training does not track the statistics that "
                "this net needs there: build it with normalisation='own', or learn from the largest stage "
                "(scheme slimmable)"
            )
        return _EMATeacher(net, self.momentum, self._loss(), self.source)

    def _loss(self) -> SoftLoss:
        return SoftLoss(self.mixing, self.temperature, self.squared_temperature, self.label_weight)


@dataclass(frozen=True)
class GivenTeacher:
    """Every stage learns from the labels and from the last stage of a net that is trained already.

    The loss of a stage is that of `Distillation`. The defaults are those of IMTA's code (ICCV 2019), whose
    teacher is a frozen net as well; unlike there the divergence is not divided by the number of classes, and
    the last stage learns from the teacher, too.

    Args:
        mixing: how much the teacher counts, in [0, 1].
        temperature: T, which divides the logits of teacher and stage.
        squared_temperature: whether T^2 multiplies the divergence.
        label_weight: how much the labels count; None for `1 - mixing`.

    Raises:
        ValueError: for a number out of its range, or stages that would learn nothing.

    >>> from anytimenet.nets import create_net
    >>> net, teacher = create_net("isresnext_tiny"), create_net("resnet_tiny")
    >>> targets = GivenTeacher().build(net, RunFacts(teacher=teacher))
    >>> [logits.shape for logits in targets.teach(torch.zeros(4, 3, 8, 8), (1, 2))[teacher.num_stages]]
    [torch.Size([4, 10])]
    """

    mixing: float = 0.9
    temperature: float = 3.0
    squared_temperature: bool = True
    label_weight: float | None = None

    def __post_init__(self) -> None:
        self._loss()

    def build(self, net: AnytimeNet, facts: RunFacts) -> Targets:
        """The targets of `net`.

        Raises:
            ValueError: without a teacher, or if it predicts other classes or reads other images than `net`.
        """
        if facts.teacher is None:
            raise ValueError("this scheme learns from a given teacher: give teacher=BUNDLE")
        given = facts.teacher if isinstance(facts.teacher, Teacher) else Teacher(facts.teacher)
        teacher = given.net
        if tuple(teacher.num_classes) != tuple(net.num_classes):
            raise ValueError(
                f"the teacher predicts classes {tuple(teacher.num_classes)} per level and the net "
                f"{tuple(net.num_classes)}: give a teacher that was trained on the same labels"
            )
        if teacher.in_channels != net.in_channels:
            raise ValueError(
                f"the teacher reads {teacher.in_channels}-channel images and the net reads "
                f"{net.in_channels}-channel images: give a teacher that was trained on the same images"
            )
        if teacher.num_stages in teacher.stages_without_statistics():
            raise ValueError(
                "the teacher's last stage has no BatchNorm statistics yet: estimate them first "
                "(an.reestimate(bundle))"
            )
        return _GivenTeacher(given, self._loss())

    def _loss(self) -> SoftLoss:
        return SoftLoss(self.mixing, self.temperature, self.squared_temperature, self.label_weight)


_SOURCES = ("same", "last")


class _EMATeacher(Targets):
    def __init__(self, net: AnytimeNet, momentum: float, loss: SoftLoss, source: str) -> None:
        super().__init__()
        self._loss, self._source, self._last = loss, source, net.num_stages
        # The last stage is the one that sees labels alone; without it nothing would.
        self.needs = (self._last,) if source == "last" and not loss.weight_of_labels else ()
        self._average = get_ema_multi_avg_fn(momentum)
        self.teacher = _frozen_copy(net)
        # In a tuple, so that the net in training does not become a part of this module and its checkpoint.
        self._net = (net,)
        self._started = False

    def teach(self, x: Tensor, stages: Sequence[int]) -> Mapping[int, Output]:
        self._follow()
        teaching = [self._last] if self._source == "last" else stages
        with torch.no_grad():
            return dict(zip(teaching, self.teacher(x, teaching), strict=True))

    def losses(self, group: Group, lesson: Lesson) -> list[Tensor]:
        if self._source == "same":
            return [self._loss(output, lesson.taught[stage], lesson) for stage, output in group]
        return [
            lesson.criterion(output, lesson.labels)
            if stage == self._last
            else self._loss(output, lesson.taught[self._last], lesson)
            for stage, output in group
        ]

    def train(self, mode: bool = True) -> _EMATeacher:
        super().train(mode)
        self.teacher.eval()
        return self

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self._started)

    def set_extra_state(self, state: Any) -> None:
        self._started = bool(state)

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the average; the first step copies, since weights may be loaded after the scheme is built."""
        moved: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
        for average, now in zip(_tensors(self.teacher), _tensors(self._net[0]), strict=True):
            if self._started and average.is_floating_point():
                averages, news = moved.setdefault(average.dtype, ([], []))
                averages.append(average)
                news.append(now)
            else:
                average.copy_(now)
        for averages, news in moved.values():
            self._average(averages, news, 0)
        self._started = True


class _GivenTeacher(Targets):
    uses_given_teacher = True

    def __init__(self, teacher: Teacher, loss: SoftLoss) -> None:
        super().__init__()
        self._loss = loss
        # It never changes, so in a tuple it stays out of the checkpoint; `.to` does not reach it there.
        self._teacher = (_frozen_copy(teacher),)
        self._last = teacher.net.num_stages

    def teach(self, x: Tensor, stages: Sequence[int]) -> Mapping[int, Output]:
        (teacher,) = self._teacher
        if next(teacher.parameters()).device != x.device:
            teacher.to(x.device)
        with torch.no_grad():
            return {self._last: teacher(x)}

    def losses(self, group: Group, lesson: Lesson) -> list[Tensor]:
        teacher = lesson.taught[self._last]
        return [self._loss(output, teacher, lesson) for _, output in group]


def _frozen_copy(module: Module) -> Module:
    return copy.deepcopy(module).eval().requires_grad_(False)


def _tensors(net: AnytimeNet) -> Iterator[Tensor]:
    yield from net.parameters()
    yield from net.buffers()
