"""What heads read, computed batch by batch by a backbone that stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from anytimenet.nets.chain.blocks import ChainHead
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.contract import AnytimeNet, Output
from anytimenet.schemes.hooks import Targets
from anytimenet.training.validation import Batches


@dataclass(frozen=True)
class Examples:
    """Some images as heads see them.

    Attributes:
        features: for each stage what its head predicts from, `(N, ...)`.
        labels: one tensor a label level, fine level first.
        taught: outputs of a teacher beside the net, by stage.
    """

    features: tuple[Tensor, ...]
    labels: tuple[Tensor, ...]
    taught: Mapping[int, Output]

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors, in an order that `of` knows."""
        return [*self.features, *self.labels, *(z for output in self.taught.values() for z in output)]

    def of(self, tensors: Sequence[Tensor]) -> Examples:
        """Other examples of this form."""
        rest = iter(tensors)
        features = tuple(next(rest) for _ in self.features)
        labels = tuple(next(rest) for _ in self.labels)
        taught = {stage: tuple(next(rest) for _ in output) for stage, output in self.taught.items()}
        return Examples(features, labels, taught)


Read = Callable[[Tensor, tuple[Tensor, ...]], Examples]
"""Runs a backbone on images `(N, C, H, W)` with their labels."""


@dataclass(frozen=True)
class Progress:
    """Tells people how far it is; nothing by default."""

    phase: Callable[[str, int], None] = lambda what, steps: None
    step: Callable[[], None] = lambda: None

    @classmethod
    def of(cls, reporter: Any) -> Progress:
        """That of a reporter; nothing of one that knows no phases."""
        return cls(reporter.phase, reporter.step) if hasattr(reporter, "phase") else cls()


SILENT = Progress()


class FeatureSource(Protocol):
    """Where heads get their examples from, epoch by epoch.

    Attributes:
        views: of each image that are seen; None if there is no end of them.
        kept: where the features are, "in memory", "in a file" or "nowhere".
    """

    @property
    def views(self) -> int | None: ...

    @property
    def kept(self) -> str: ...

    def __len__(self) -> int:
        """Batches of an epoch."""

    def epoch(self, number: int) -> Iterator[Examples]:
        """The batches of an epoch, from 0 on; a pure function of its number."""


class FeatureReader:
    """Runs the backbone of `net`, in eval mode and without a graph.

    Args:
        net: in eval mode, its heads apart.
        targets: what the heads learn; a given teacher is asked here, for it reads images.
        autocast: the number format in which the net runs.
    """

    def __init__(
        self, net: ChainNet, targets: Targets, autocast: Callable[[], AbstractContextManager[Any]]
    ) -> None:
        self._net, self._targets, self._autocast = net, targets, autocast

    @torch.no_grad()
    def __call__(self, x: Tensor, labels: tuple[Tensor, ...]) -> Examples:
        """The examples of one batch of images `(N, C, H, W)`."""
        with self._autocast():
            features = {stage: _head(self._net, stage).reduce(read) for stage, read in self._net.features(x)}
        stages = sorted(features)
        taught = self._targets.teach(x, stages) if self._targets.uses_given_teacher else {}
        return Examples(tuple(features[stage] for stage in stages), tuple(labels), taught)


@dataclass(frozen=True)
class LiveFeatures:
    """Features that are computed anew in every epoch, where no room holds them."""

    read: Read
    images: Batches
    views: int | None = None
    kept: str = "nowhere"

    def __len__(self) -> int:
        return len(self.images)

    def epoch(self, number: int) -> Iterator[Examples]:
        """The batches of an epoch."""
        for x, labels in self.images.epoch(number):
            yield self.read(x, labels)


class HeadsAlone(AnytimeNet):
    """The heads of a net as a net that reads features, one tensor a stage; the weights are the net's own."""

    def __init__(self, net: ChainNet) -> None:
        super().__init__()
        self.num_stages, self.num_classes, self.in_channels = net.num_stages, net.num_classes, net.in_channels
        self.heads = net.heads

    def forward(self, x: Any, stages: Sequence[int] | None = None) -> list[Output]:
        """The outputs of `stages` from the features of all stages."""
        return [_head(self, stage).predict(x[stage - 1]) for stage in self.check_stages(stages)]


def _head(net: ChainNet | HeadsAlone, stage: int) -> ChainHead:
    head = net.heads[stage - 1]
    assert isinstance(head, ChainHead)
    return head
