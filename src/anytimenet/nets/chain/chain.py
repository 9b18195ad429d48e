"""Depth: nets whose predictions sit on a graph of blocks, each stage a longer part of the same graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from anytimenet.core.checks import (
    MOST_SIDE,
    all_words,
    class_counts,
    instance,
    optional,
    several,
    whole_number,
)
from anytimenet.core.segments import INPUT, InputSpec
from anytimenet.layers.snapshots import copied
from anytimenet.nets.chain.blocks import ChainBlock, ChainHead, Node, check_node, check_own, named_heads
from anytimenet.nets.chain.graph import Graph, Link, Step
from anytimenet.nets.chain.shapes import node_shapes
from anytimenet.nets.contract import (
    AnytimeNet,
    ChainView,
    Join,
    Output,
    Part,
    Pieces,
    Segment,
    State,
    TensorSpec,
    claim,
)
from anytimenet.nets.segment import CHANNELS, Changes, concatenate


class ChainNet(AnytimeNet):
    """A graph of modules in blocks, with a prediction on one node after each block.

    Everything that the contract asks for follows from the graph: stage k needs the ancestors of its node
    (`need(k)`), segment (a, b) computes need(b) without need(a) and the head of b, the state after stage
    a holds what later segments read of need(a). Work of block k that only later stages need (the fine
    scales of MSDNet) is left to the segments of those stages; `blocks` runs it where it was published.

    Args:
        blocks: the nodes of each block; a node reads nodes before it.
        exits: for each stage the name of the node that its head reads, in blocks 1..k for stage k.
        heads: for each stage a module from that node's tensor to an output, or to one tensor of logits.
        num_classes: classes, or one number for each label level, fine level first.
        in_channels: channels of the images; None for 3, or what `input_spec` says.
        input_spec: what the net reads, if that is not images of any size.

    Attributes:
        blocks: the published view: `blocks[k-1](state) -> state`, from the state `(x,)` on; the last
            tensor of a state is the one that head k reads. Rules that act between blocks walk it.
        heads: `heads[k-1](state) -> output`.
        input_shape: (C, H, W) of the images that it was built for; None if that is not known.

    Raises:
        ValueError: for a graph that is not one: a name twice, an input that is not computed yet, a node
            that serves no prediction, a stage that needs later blocks than its own.

    >>> import torch
    >>> stem, deeper = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
    >>> net = ChainNet(
    ...     [[Node("stem", stem, ("x",))], [Node("deeper", deeper, ("stem",))]],
    ...     exits=("stem", "deeper"),
    ...     heads=[nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n, 10)) for n in (4, 6)],
    ...     num_classes=(10,),
    ... )
    >>> [tuple(logits.shape) for (logits,) in net(torch.zeros(2, 3, 8, 8))]
    [(2, 10), (2, 10)]
    """

    input_shape: tuple[int, ...] | None = None

    def __init__(
        self,
        blocks: Sequence[Sequence[Node]],
        exits: Sequence[str],
        heads: Sequence[nn.Module],
        *,
        num_classes: int | Sequence[int],
        in_channels: int | None = None,
        input_spec: InputSpec | None = None,
    ) -> None:
        super().__init__()
        blocks = [several(block, "each of blocks") for block in several(blocks, "blocks")]
        exits, heads = all_words(exits, "exits"), several(heads, "heads")
        for node in (node for block in blocks for node in block):
            instance(node, Node, "each node of blocks", 'Node("stem", module, ("x",))')
        for head in heads:
            instance(head, nn.Module, "each of heads", "nn.Linear(16, 10)")
        if not len(blocks) == len(exits) == len(heads) or not blocks:
            raise ValueError(
                f"{len(blocks)} blocks, {len(exits)} exits and {len(heads)} heads: "
                "one of each a stage is needed"
            )
        for block in blocks:
            for node in block:
                check_node(node)
        check_own([*((n.name, n.module) for block in blocks for n in block), *named_heads(heads)])
        self.num_stages = len(blocks)
        self.num_classes = class_counts(num_classes)
        self.input_spec = input_of(in_channels, input_spec)
        self.in_channels = self.input_spec.channels
        self.graph = Graph(
            tuple(Link(n.name, tuple(n.inputs), k) for k, block in enumerate(blocks, 1) for n in block),
            tuple(exits),
        )
        self.blocks = nn.ModuleList(
            ChainBlock({n.name: n.module for n in block}, self.graph, k) for k, block in enumerate(blocks, 1)
        )
        self.heads = nn.ModuleList(head if isinstance(head, ChainHead) else ChainHead(head) for head in heads)

    def forward(self, x: Tensor, stages: Sequence[int] | None = None) -> list[Output]:
        outputs = {stage: self.heads[stage - 1]((read,)) for stage, read in self.features(x, stages)}
        return [outputs[stage] for stage in self.check_stages(stages)]

    def features(self, x: Tensor, stages: Sequence[int] | None = None) -> Iterator[tuple[int, Tensor]]:
        """Each of `stages` (all by default) with what its head reads, in the order in which they can predict.

        The heads do not run. Only features that are still needed are held.
        """
        stages = self.check_stages(stages)
        self.check_batch(x.shape)
        tensors = {INPUT: x}
        blocks = [block._modules for block in self.blocks]
        for step in self.graph.run(stages):
            module = blocks[step.block - 1][step.name]
            assert module is not None
            tensors[step.name] = module(*[tensors[name] for name in step.inputs])
            for stage in step.read_by:
                yield stage, tensors[step.name]
            for name in step.frees:
                del tensors[name]

    def parts(self) -> list[Part]:
        found = []
        for link in self.graph.links:
            users = tuple(k for k in range(1, self.num_stages + 1) if link.name in self.graph.need(k))
            found += claim(self, f"blocks.{link.block - 1}.{link.name}.", users)
        for stage in range(1, self.num_stages + 1):
            found += claim(self, f"heads.{stage - 1}.", (stage,))
        return found

    def state_spec(self, stage: int, input_shape: Sequence[int]) -> list[TensorSpec]:
        self.check_reached(stage, input_shape)
        if stage == 0:
            return [self.spec(INPUT, input_shape)]
        self.input_spec.check(input_shape)
        shapes = self.node_shapes(input_shape, self.graph.needed((stage,)))
        before = self.state_names(stage - 1)
        specs = []
        for name in self.state_names(stage):
            old = None if name in before else self._beginning(name, before)
            specs.append(
                self.spec(name, shapes[name], continues=old, grows=None if old is None else CHANNELS)
            )
        return specs

    def state_names(self, stage: int) -> tuple[str, ...]:
        self.check_reached(stage)
        return self.graph.state(stage) if stage else (INPUT,)

    def pieces(self, start: int, stop: int) -> Pieces:
        new = self.graph.need(stop) - (self.graph.need(start) if start else frozenset())
        nodes = (f"blocks.{link.block - 1}.{link.name}" for link in self.graph.links if link.name in new)
        return Pieces((*nodes, f"heads.{stop - 1}"), self._changes(start, stop))

    def chain(self) -> ChainView:
        return ChainView(self.blocks, self.heads)

    def node_shapes(
        self, input_shape: Sequence[int], names: Iterable[str] | None = None
    ) -> dict[str, tuple[int, ...]]:
        """The shape per example of each node's tensor, and of "x", for images of `input_shape` (C, H, W).

        `names`: only these nodes, with everything that they need; all by default.
        """
        wanted = None if names is None else frozenset(names)
        nodes = [
            Node(link.name, self._module(link), link.inputs)
            for link in self.graph.links
            if wanted is None or link.name in wanted
        ]
        return node_shapes(nodes, input_shape, dtype=next(self.parameters()).dtype)

    @property
    def nodes(self) -> list[list[Node]]:
        """The nodes of each block, with the net's own modules: what the net was built from."""
        found: list[list[Node]] = [[] for _ in range(self.num_stages)]
        for link in self.graph.links:
            found[link.block - 1].append(Node(link.name, self._module(link), link.inputs))
        return found

    def _segment(self, start: int, stop: int, *, last: bool) -> Segment:
        return _ChainSegment(self, start, stop, last=last)

    def _keep(self, stages: tuple[int, ...]) -> ChainNet:
        needed = self.graph.needed(stages)
        blocks = []
        for before, stage in zip((0, *stages), stages, strict=False):
            links = [link for link in self.graph.links if before < link.block <= stage]
            blocks.append(
                [
                    Node(link.name, copied(self._module(link)), link.inputs)
                    for link in links
                    if link.name in needed
                ]
            )
        net = ChainNet(
            blocks,
            [self.graph.exits[stage - 1] for stage in stages],
            [copied(self.heads[stage - 1]) for stage in stages],
            num_classes=self.num_classes,
            input_spec=self.input_spec,
        )
        net.input_shape = self.input_shape
        return net

    def _changes(self, start: int, stop: int) -> Changes:
        """The tensors that the state at `stop` has and that at `start` lacks."""
        reads, writes = self.state_names(start), self.state_names(stop)
        found = {name: self._beginning(name, reads) for name in writes if name not in reads}
        return {name: None if old is None else (old, CHANNELS) for name, old in found.items()}

    def _beginning(self, name: str, held: Collection[str]) -> str | None:
        """The tensor among `held` that is the unchanged beginning of a node's, as far as modules say so."""
        links = {link.name: link for link in self.graph.links}
        while name not in held:
            place = getattr(self._module(links[name]), "continues", None) if name in links else None
            if place is None:
                return None
            name = links[name].inputs[place]
        return name

    def _module(self, link: Link | Step) -> nn.Module:
        block = self.blocks[link.block - 1]
        assert isinstance(block, ChainBlock)
        return block[link.name]


def input_of(channels: int | None, spec: InputSpec | None) -> InputSpec:
    """What a net reads, of images of so many channels if nothing else is said."""
    optional(channels, "in_channels", whole_number, 1, MOST_SIDE)
    if spec is None:
        return InputSpec("images", 3 if channels is None else channels)
    instance(spec, InputSpec, "input_spec", 'InputSpec("images", 3, smallest=8)')
    if channels not in (None, spec.channels):
        raise ValueError(f"in_channels {channels} and {spec} differ: give one of them")
    return spec


class _ChainSegment(Segment):
    """The nodes that `stop` needs and `start` lacks, and the head of `stop`."""

    def __init__(self, net: ChainNet, start: int, stop: int, *, last: bool) -> None:
        super().__init__(net, start, stop, last=last)
        self.changes = net._changes(start, stop) if self.carries else {}
        self.exit = net.graph.exits[stop - 1]
        finished = net.graph.need(start) if start else frozenset()
        wanted = net.graph.need(stop) - finished
        self.steps = net.graph.schedule(wanted, frozenset((*self.changes, self.exit)))
        self.nodes = nn.ModuleDict({step.name: net._module(step) for step in self.steps})
        self.head = net.heads[stop - 1]

    def advance(self, state: State, join: Join) -> tuple[dict[str, Tensor], Output]:
        tensors = dict(zip(self.reads, state, strict=True))
        for step in self.steps:
            node: Any = self.nodes[step.name]
            inputs = [tensors[name] for name in step.inputs]
            place = getattr(node, "continues", None)
            if place is None or join is concatenate:  # a node's own concatenation is one copy less
                tensors[step.name] = node(*inputs)
            else:
                new = torch.cat(node.grow(*inputs), 1)
                tensors[step.name] = join(step.name, inputs[place], new, CHANNELS)
            for name in step.frees:
                del tensors[name]
        return {name: tensors[name] for name in self.changes}, self.head((tensors[self.exit],))
