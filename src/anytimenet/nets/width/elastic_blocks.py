"""The stem and the residual units of an elastic net, and the plain ones that they become in segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from anytimenet.nets.width.elastic_layers import ConvNorm
from anytimenet.nets.width.elastic_plan import ElasticPlan, PlannedUnit

Channels = Mapping[int, int]


class Stem(nn.Module):
    """What reads the images: a 3x3 convolution, or 7x7 with stride 2 and max-pooling with stride 2."""

    def __init__(self, in_channels: int, plan: ElasticPlan, normalisation: str) -> None:
        super().__init__()
        channels = plan.stem_channels
        self.large = plan.stem == "imagenet"
        kernel, stride = (7, 2) if self.large else (3, 1)
        inputs = dict.fromkeys(channels, in_channels)
        self.layer = ConvNorm(inputs, channels, kernel, stride=stride, normalisation=normalisation)

    def forward(self, x: Tensor, stage: int) -> Tensor:
        x = F.relu_(self.layer(x, stage))
        return F.max_pool2d(x, 3, stride=2, padding=1) if self.large else x

    def plain(self, stage: int) -> nn.Sequential:
        """The same for one stage, of plain layers."""
        pool = [nn.MaxPool2d(3, stride=2, padding=1)] if self.large else []
        return nn.Sequential(*self.layer.plain(stage), nn.ReLU(inplace=True), *pool)


class ResidualUnit(nn.Module):
    """Convolutions, each with normalisation, ReLU between them, added to the shortcut, and ReLU."""

    def __init__(self, place: PlannedUnit, unit: str, normalisation: str) -> None:
        super().__init__()
        self.stages = frozenset(place.outputs)

        def layer(inputs: Channels, channels: Channels, kernel: int, stride: int = 1) -> ConvNorm:
            return ConvNorm(inputs, channels, kernel, stride=stride, normalisation=normalisation)

        if unit == "basic":
            branch = [
                layer(place.inputs, place.middle, 3, place.stride),
                layer(place.middle, place.outputs, 3),
            ]
        else:
            branch = [
                layer(place.inputs, place.middle, 1),
                layer(place.middle, place.middle, 3, place.stride),
                layer(place.middle, place.outputs, 1),
            ]
        self.branch = nn.ModuleList(branch)
        self.shortcut = layer(place.inputs, place.outputs, 1, place.stride) if place.projects else None

    def forward(self, x: Tensor, stage: int) -> Tensor:
        *first, final = self.branch
        h = x
        for layer in first:
            h = F.relu_(layer(h, stage))
        shortcut = x if self.shortcut is None else self.shortcut(x, stage)
        return F.relu_(final(h, stage).add_(shortcut))

    def layers(self) -> Iterator[ConvNorm]:
        """All convolutions with their normalisation."""
        for layer in (*self.branch, self.shortcut):
            if isinstance(layer, ConvNorm):
                yield layer


class PlainUnit(nn.Module):
    """One unit cut to the channels of one stage."""

    def __init__(self, unit: ResidualUnit, stage: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer in unit.branch:
            assert isinstance(layer, ConvNorm)
            layers += [*layer.plain(stage), nn.ReLU(inplace=True)]
        self.branch = nn.Sequential(*layers[:-1])
        self.shortcut = None if unit.shortcut is None else unit.shortcut.plain(stage)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu_(self.branch(x).add_(x if self.shortcut is None else self.shortcut(x)))
