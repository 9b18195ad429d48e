"""A training scheme: one choice for each of four questions, and presets by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from anytimenet.core.errors import suggest
from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.gradients import SummedGradients
from anytimenet.schemes.hooks import Criterion, Group, HookConfig, Mean
from anytimenet.schemes.sampling import AllStages
from anytimenet.schemes.targets import FromLabels
from anytimenet.schemes.weighting import ConstantWeights


@dataclass(frozen=True)
class Scheme:
    """How the stages learn together: the composition of four hooks.

    Args:
        sampling: which stages run in a step, in which order.
        targets: what each learns.
        weighting: how much each counts.
        gradients: how their gradients combine.

    >>> from anytimenet.nets import create_net
    >>> built = Scheme().build(create_net("isresnext_tiny"))
    """

    sampling: HookConfig = field(default_factory=AllStages)
    targets: HookConfig = field(default_factory=FromLabels)
    weighting: HookConfig = field(default_factory=ConstantWeights)
    gradients: HookConfig = field(default_factory=SummedGradients)

    def build(self, net: AnytimeNet) -> BuiltScheme:
        """The scheme's module for `net`; its state_dict is part of a checkpoint."""
        return BuiltScheme(self, net)


class BuiltScheme(nn.Module):
    """A scheme at work on one net."""

    def __init__(self, scheme: Scheme, net: AnytimeNet) -> None:
        super().__init__()
        self.sampling = scheme.sampling.build(net)
        self.targets = scheme.targets.build(net)
        self.weighting = scheme.weighting.build(net)
        self.gradients = scheme.gradients.build(net)

    def step(
        self, net: AnytimeNet, x: Tensor, labels: Any, criterion: Criterion, mean: Mean | None = None
    ) -> dict[int, Tensor]:
        """Adds this step's gradient to `.grad` of `net`.

        Returns the detached, unweighted loss of each stage that ran. Where several processes train together
        `mean` makes them means over all processes.
        """
        stages = tuple(self.sampling.draw())
        weights = self.weighting.weights(stages)
        seen: dict[int, Tensor] = {}

        def weighted(group: Group) -> list[Tensor]:
            losses = self.targets.losses(group, labels, criterion)
            for (stage, _), loss in zip(group, losses, strict=True):
                seen[stage] = loss.detach()
            return [
                loss * weights[stage] if weights[stage] != 1 else loss
                for (stage, _), loss in zip(group, losses, strict=True)
            ]

        self.gradients(net, x, stages, weighted)
        if mean is not None:
            seen = dict(zip(seen, mean(torch.stack(list(seen.values()))).unbind(), strict=True))
        self.weighting.observe(seen)
        return seen


@dataclass(frozen=True)
class SchemePreset:
    """A published scheme by name."""

    name: str
    scheme: Scheme
    summary: str
    paper: str


_PRESETS: Mapping[str, SchemePreset] = {
    preset.name: preset
    for preset in (
        SchemePreset(
            "anytime",
            Scheme(),
            "every stage learns the labels; the plain sum of the losses",
            "Anytime Neural Prediction via Slicing Networks Vertically, equation 1",
        ),
    )
}


def scheme_preset(name: str) -> SchemePreset:
    """The preset of that name.

    Raises:
        ValueError: for an unknown name, with the nearest known one.

    >>> scheme_preset("anytime").paper
    'Anytime Neural Prediction via Slicing Networks Vertically, equation 1'
    """
    if name not in _PRESETS:
        raise ValueError(f"no scheme is named {name!r}: {suggest(name, _PRESETS)}")
    return _PRESETS[name]


def list_schemes() -> list[str]:
    """Names of all presets, sorted."""
    return sorted(_PRESETS)
