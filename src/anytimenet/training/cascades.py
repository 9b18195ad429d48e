"""A cascade of heads and its ensembles apart from their backbone: what it reads, what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from anytimenet.core.segments import INPUT
from anytimenet.layers.heads.cascade import CascadeHead, Ensemble, Levels
from anytimenet.nets.chain.blocks import ChainHead, Node
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.contract import AnytimeNet, Output
from anytimenet.schemes.hooks import Targets
from anytimenet.training.features import Examples


class CascadeAlone(AnytimeNet):
    """The heads that `zero_time_waste` put on a net, as a net that reads features; the weights are shared.

    Its stages are the heads: those of the cascade, then the backbone's own, if the net has it. A net that was
    cut out of a larger one has heads that no stage answers with, for later ones read them.

    Args:
        net: with a cascade; see `has_cascade`.
    """

    def __init__(self, net: ChainNet) -> None:
        super().__init__()
        nodes = {node.name: node for block in net.nodes for node in block}
        self.cascade = [node for node in nodes.values() if isinstance(node.module, CascadeHead)]
        self.added = {node.name for node in nodes.values() if isinstance(node.module, CascadeHead | Ensemble)}
        self.exits = [nodes[name] for name in net.graph.exits]
        own = [
            head for head, exit_ in zip(net.heads, self.exits, strict=True) if exit_.name not in self.added
        ]
        self.heads = nn.ModuleList([*(node.module for node in self.cascade), *own])
        self.ensembles = nn.ModuleList(
            node.module for node in self.exits if isinstance(node.module, Ensemble)
        )
        self.levels = Levels(net.num_classes)
        self.num_stages, self.num_classes, self.in_channels = (
            len(self.heads),
            net.num_classes,
            net.in_channels,
        )

    @property
    def reads(self) -> list[str]:
        """For each head the node that it reads, answers of other heads aside."""
        own = [exit_.name for exit_ in self.exits if exit_.name not in self.added]
        return [*(node.inputs[0] for node in self.cascade), *own]

    def forward(self, x: Any, stages: Sequence[int] | None = None) -> list[Output]:
        """The outputs of heads, from what each of them reads."""
        answers = self.answers(x)
        outputs = [self.levels(answers[node.name]) for node in self.cascade]
        own = zip(self.heads[len(outputs) :], x[len(outputs) :], strict=True)
        outputs += [head.predict(features) for head, features in own if isinstance(head, ChainHead)]
        return [outputs[stage - 1] for stage in self.check_stages(stages)]

    def answers(self, features: Sequence[Tensor]) -> dict[str, Tensor]:
        """The logits of each head of the cascade, by the name of its node."""
        found: dict[str, Tensor] = {}
        for node, reduced in zip(self.cascade, features, strict=False):
            assert isinstance(node.module, CascadeHead)
            found[node.name] = node.module.predict(reduced, *(found[name] for name in node.inputs[1:]))
        return found

    def together(self, answers: dict[str, Tensor]) -> list[Output]:
        """What each ensemble makes of them."""
        nodes = [node for node in self.exits if isinstance(node.module, Ensemble)]
        return [self.levels(node.module(*(answers[name] for name in node.inputs))) for node in nodes]

    def by_stage(self, of_heads: Sequence[float], of_ensembles: Sequence[float]) -> list[float]:
        """One number for each stage of the net: its ensemble's, if it has one, else its head's."""
        ensembles, places = iter(of_ensembles), {node.name: k for k, node in enumerate(self.cascade)}
        own = iter(of_heads[len(places) :])
        return [
            next(ensembles)
            if isinstance(node.module, Ensemble)
            else of_heads[places[node.name]]
            if node.name in places
            else next(own)
            for node in self.exits
        ]


@dataclass(frozen=True)
class CascadeReader:
    """Runs the backbone of a net with a cascade, in eval mode and without a graph.

    Attributes:
        net: in eval mode.
        alone: its heads.
        targets: what the heads learn; a given teacher is asked here, for it reads images.
        autocast: the number format in which the net runs.
    """

    net: ChainNet
    alone: CascadeAlone
    targets: Targets
    autocast: Callable[[], AbstractContextManager[Any]]

    @torch.no_grad()
    def __call__(self, x: Tensor, labels: tuple[Tensor, ...]) -> Examples:
        """The examples of one batch of images `(N, C, H, W)`."""
        reads = self.alone.reads
        with self.autocast():
            found = self._backbone(x, frozenset(reads))
            heads = zip(self.alone.heads, reads, strict=True)
            features = tuple(head.reduce(found[name]) for head, name in heads)  # type: ignore[operator]
        stages = range(1, len(features) + 1)
        taught = self.targets.teach(x, stages) if self.targets.uses_given_teacher else {}
        return Examples(features, tuple(labels), taught)

    def _backbone(self, x: Tensor, wanted: frozenset[str]) -> dict[str, Tensor]:
        modules = {node.name: node.module for block in self.net.nodes for node in block}
        tensors = {INPUT: x}
        for step in self.net.graph.schedule(frozenset(modules) - self.alone.added, wanted):
            tensors[step.name] = modules[step.name](*(tensors[name] for name in step.inputs))
            for name in step.frees:
                del tensors[name]
        return tensors


def has_cascade(net: AnytimeNet) -> bool:
    """Whether heads of `net` read each other's answers.

    >>> from anytimenet.nets import create_net
    >>> has_cascade(create_net("ztw_tiny")), has_cascade(create_net("msdnet_tiny"))
    (True, False)
    """
    return isinstance(net, ChainNet) and bool(added_nodes(net))


def added_nodes(net: ChainNet) -> list[Node]:
    """The nodes of a chain that are heads or ensembles, and no part of the backbone."""
    nodes = (node for block in net.nodes for node in block)
    return [node for node in nodes if isinstance(node.module, CascadeHead | Ensemble)]


def heads_of(net: ChainNet) -> list[nn.Module]:
    """All that predicts: what learns while the backbone stays as it is."""
    return [*net.heads, *(node.module for node in added_nodes(net))]
