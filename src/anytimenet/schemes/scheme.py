"""A training scheme: one choice for each of four questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from anytimenet.core.checks import instance
from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.gradients.summed import SummedGradients
from anytimenet.schemes.hooks import (
    Criterion,
    GradientRule,
    Group,
    HookConfig,
    Lesson,
    Mean,
    RunFacts,
    Sampling,
    Targets,
    Weighting,
)
from anytimenet.schemes.sampling import AllStages
from anytimenet.schemes.targets.labels import FromLabels
from anytimenet.schemes.weighting.fixed import ConstantWeights
from anytimenet.schemes.weighting.stage_weights import StageWeights


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

    def __post_init__(self) -> None:
        for name in _KINDS:
            hook = getattr(self, name)
            if isinstance(hook, type) or not callable(getattr(hook, "build", None)):
                what = f"the class {hook.__name__}" if isinstance(hook, type) else repr(hook)
                raise ValueError(
                    f"{name} must be a member of that hook, not {what}: for example "
                    f"Scheme(weighting=LinearWeights()), or scheme_preset(NAME).scheme"
                )

    def build(self, net: AnytimeNet, facts: RunFacts | None = None) -> BuiltScheme:
        """The scheme's module for `net`; its state_dict is part of a checkpoint.

        Raises:
            ValueError: if the net does not allow a hook, or a hook misses something in `facts`.
        """
        instance(net, AnytimeNet, "net", "create_net(NAME)")
        facts = RunFacts() if facts is None else instance(facts, RunFacts, "facts", "RunFacts()")
        return BuiltScheme(self, net, facts)


class BuiltScheme(nn.Module):
    """A scheme at work on one net."""

    def __init__(self, scheme: Scheme, net: AnytimeNet, facts: RunFacts) -> None:
        super().__init__()
        self.sampling: Sampling = _built(scheme, "sampling", net, facts)
        self.targets: Targets = _built(scheme, "targets", net, facts)
        self.weighting: Weighting = _built(scheme, "weighting", net, facts)
        self.gradients: GradientRule = _built(scheme, "gradients", net, facts)
        self._check_together(facts)

    def step(
        self, net: AnytimeNet, x: Tensor, labels: Any, criterion: Criterion, mean: Mean | None = None
    ) -> dict[int, Tensor]:
        """Adds this step's gradient to `.grad` of `net`.

        Returns the detached, unweighted loss of each stage that ran, stage 1 first. Where several processes
        train together `mean` makes them means over all processes.
        """
        stages = self._draw(net)
        weights = self._weights(stages)
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

    def _draw(self, net: AnytimeNet) -> Sequence[int]:
        stages = net.check_stages(self.sampling.draw())
        if self.targets.order == "descending":
            return tuple(sorted(stages, reverse=True))
        if self.targets.order == "largest_first":
            return (max(stages), *(stage for stage in stages if stage != max(stages)))
        return stages

    def _weights(self, stages: Sequence[int]) -> Mapping[int, float]:
        weights = self.weighting.weights(stages)
        if not isinstance(weights, Mapping) or any(not weights.get(k, -1) >= 0 for k in stages):
            raise ValueError(
                f"the weighting gave {weights!r}: a mapping from each of the stages {tuple(stages)} to a "
                "number of 0 or more is needed"
            )
        return weights

    def _check_together(self, facts: RunFacts) -> None:
        """Hooks that are right by themselves may make no sense together."""
        missing = sorted(set(self.targets.needs) - set(self.sampling.always))
        if missing and not self.sampling.every_stage:
            raise ValueError(
                f"stage {missing[0]} must run in every step, because others learn from it: sample with "
                'sandwich, or with drawn and always ["largest"], or take other targets'
            )
        possible = self.sampling.possible
        fixed = self.weighting.weights(possible) if isinstance(self.weighting, StageWeights) else {}
        if fixed and not any(fixed.values()):
            raise ValueError("every stage that may run has the weight 0: raise one, or sample others")
        if facts.teacher is not None and not self.targets.uses_given_teacher:
            raise ValueError(
                "this scheme learns from no given teacher: leave the teacher out, or take the scheme "
                '"teacher"'
            )


def _built(scheme: Scheme, name: str, net: AnytimeNet, facts: RunFacts) -> Any:
    config = getattr(scheme, name)
    module = config.build(net, facts)
    if not isinstance(module, _KINDS[name]):
        raise ValueError(
            f"{type(config).__name__} is no member of {name}: give it as one of the other hooks of the scheme"
        )
    return module


_KINDS: dict[str, type] = {
    "sampling": Sampling,
    "targets": Targets,
    "weighting": Weighting,
    "gradients": GradientRule,
}
