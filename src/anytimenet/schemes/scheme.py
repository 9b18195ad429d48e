"""A training scheme: one choice for each of four questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.facts import RunFacts
from anytimenet.schemes.gradients import SummedGradients
from anytimenet.schemes.hooks import Criterion, Group, HookConfig, Lesson, Mean
from anytimenet.schemes.sampling import AllStages
from anytimenet.schemes.targets import FromLabels
from anytimenet.schemes.weighting import ConstantWeights


@dataclass(frozen=True)
class Scheme:
    """How the stages learn together: the composition of four hooks, each of which may be replaced.

    Args:
        sampling: which stages run in a step, in which order.
        targets: what each learns.
        weighting: how much each counts.
        gradients: how their gradients combine.

    >>> from dataclasses import replace
    >>> from anytimenet.nets import create_net
    >>> from anytimenet.schemes import BlockDependent, Distillation
    >>> scheme = Scheme(targets=Distillation(), gradients=BlockDependent(window=2))
    >>> built = scheme.build(create_net("msdnet_tiny"))
    """

    sampling: HookConfig = field(default_factory=AllStages)
    targets: HookConfig = field(default_factory=FromLabels)
    weighting: HookConfig = field(default_factory=ConstantWeights)
    gradients: HookConfig = field(default_factory=SummedGradients)

    def build(self, net: AnytimeNet, facts: RunFacts | None = None) -> BuiltScheme:
        """The scheme's module for `net`; its state_dict is part of a checkpoint.

        Raises:
            ValueError: if the net does not allow a hook, or a hook misses something in `facts`.
        """
        return BuiltScheme(self, net, facts or RunFacts())


class BuiltScheme(nn.Module):
    """A scheme at work on one net."""

    def __init__(self, scheme: Scheme, net: AnytimeNet, facts: RunFacts) -> None:
        super().__init__()
        self.sampling = scheme.sampling.build(net, facts)
        self.targets = scheme.targets.build(net, facts)
        self.weighting = scheme.weighting.build(net, facts)
        self.gradients = scheme.gradients.build(net, facts)

    def step(
        self, net: AnytimeNet, x: Tensor, labels: Any, criterion: Criterion, mean: Mean | None = None
    ) -> dict[int, Tensor]:
        """Adds this step's gradient to `.grad` of `net`.

        Returns the detached, unweighted loss of each stage that ran, stage 1 first. Where several processes
        train together `mean` makes them means over all processes.
        """
        stages = self._draw()
        weights = self.weighting.weights(stages)
        lesson = Lesson(labels, criterion, taught=self.targets.teach(x, stages))
        seen: dict[int, Tensor] = {}

        def weighted(group: Group) -> list[Tensor]:
            lesson.outputs.update((stage, tuple(z.detach() for z in output)) for stage, output in group)
            losses = self.targets.losses(group, lesson)
            for (stage, _), loss in zip(group, losses, strict=True):
                seen[stage] = loss.detach()
            return [
                loss * weights[stage] if weights[stage] != 1 else loss
                for (stage, _), loss in zip(group, losses, strict=True)
            ]

        self.gradients(net, x, stages, weighted)
        if mean is not None:
            seen = dict(zip(seen, mean(torch.stack(list(seen.values()))).unbind(), strict=True))
        seen = dict(sorted(seen.items()))
        self.weighting.observe(seen)
        return seen

    def _draw(self) -> Sequence[int]:
        stages = tuple(self.sampling.draw())
        return tuple(sorted(stages, reverse=True)) if self.targets.largest_first else stages
