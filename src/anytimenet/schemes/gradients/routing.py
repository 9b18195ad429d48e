"""Which loss trains which block: block-dependent losses.

Source: Han et al., "Improving Low-Latency Predictions in Multi-Exit Neural Networks via Block-Dependent
Losses". Forward values are those of the ordinary net; classifier j learns from its own loss alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from anytimenet.nets.contract import AnytimeNet, ChainView
from anytimenet.schemes.checks import check_whole
from anytimenet.schemes.gradients.chains import as_leaves, chain_of, take_gradients
from anytimenet.schemes.hooks import GradientRule, GroupLoss, RunFacts


@dataclass(frozen=True)
class BlockDependent:
    """Block i learns from the losses of exits i to i + window - 1: overlapping windows.

    Windows go by the number of an exit, also in steps that run only some of them.

    Args:
        window: Q, how many exits a block learns from; 1 is local training.
        include_final: the last loss reaches every block, too.

    Raises:
        ValueError: for a window below 1; by `build` for one above the number of stages, or a net that is no
            chain of blocks.

    >>> BlockDependent(window=3).first_blocks(7)
    (1, 1, 1, 2, 3, 4, 5)
    >>> BlockDependent(window=1, include_final=True).first_blocks(4)
    (1, 2, 3, 1)
    """

    window: int = 3
    include_final: bool = False

    def __post_init__(self) -> None:
        check_whole("window", self.window, 1)

    def first_blocks(self, num_stages: int) -> tuple[int, ...]:
        """For each exit the first block that its loss trains; it trains all blocks from there to its own.

        Raises:
            ValueError: if the window is larger than the number of stages.
        """
        if self.window > num_stages:
            raise ValueError(
                f"a window of {self.window} exits is larger than the net's {num_stages} stages: take at most "
                f"{num_stages} (which is ordinary training)"
            )
        first = [max(1, exit_ - self.window + 1) for exit_ in range(1, num_stages + 1)]
        return _with_final(first, self.include_final)

    def build(self, net: AnytimeNet, facts: RunFacts) -> GradientRule:
        """The rule for `net`."""
        chain_of(net, "block-dependent losses act")
        return _RoutedGradients(self.first_blocks(net.num_stages))


@dataclass(frozen=True)
class GroupedLosses:
    """Exits in groups without overlap: block i learns from the exits of its own group from i on.

    Args:
        size: exits of each group from the first on; a single exit that would be left over joins the last
            group. 3 gives the published groups: {1, 2, 3}, {4, 5, 6, 7} of 7 exits, {1, 2, 3}, {4, 5} of 5.
        groups: the number of exits of each group instead, for example (2, 2, 3).
        include_final: the last loss reaches every block, too.

    Raises:
        ValueError: for sizes that are not positive; by `build` if they do not fit the number of stages, or
            for a net that is no chain of blocks.

    >>> GroupedLosses().first_blocks(7)
    (1, 1, 1, 4, 4, 4, 4)
    """

    size: int = 3
    groups: tuple[int, ...] | None = None
    include_final: bool = False

    def __post_init__(self) -> None:
        check_whole("size", self.size, 1)
        if self.groups is not None:
            object.__setattr__(self, "groups", tuple(self.groups))
            for size in self.groups:
                check_whole("the size of a group,", size, 1)

    def first_blocks(self, num_stages: int) -> tuple[int, ...]:
        """For each exit the first block that its loss trains.

        Raises:
            ValueError: if the groups do not fit the number of stages.
        """
        sizes = self._equal_groups(num_stages) if self.groups is None else self.groups
        if sum(sizes) != num_stages:
            raise ValueError(
                f"groups of {sizes} exits are for {sum(sizes)} stages and the net has {num_stages}: give "
                "sizes with that sum"
            )
        first = [1 + sum(sizes[:number]) for number, size in enumerate(sizes) for _ in range(size)]
        return _with_final(first, self.include_final)

    def build(self, net: AnytimeNet, facts: RunFacts) -> GradientRule:
        """The rule for `net`."""
        chain_of(net, "grouped losses act")
        return _RoutedGradients(self.first_blocks(net.num_stages))

    def _equal_groups(self, num_stages: int) -> tuple[int, ...]:
        if self.size > num_stages:
            raise ValueError(
                f"groups of {self.size} exits are larger than the net's {num_stages} stages: take at most "
                f"{num_stages} (which is ordinary training)"
            )
        whole, rest = divmod(num_stages, self.size)
        sizes = [self.size] * whole
        if rest == 1 and self.size > 1:
            sizes[-1] += 1
        elif rest:
            sizes.append(rest)
        return tuple(sizes)


def _with_final(first: list[int], include_final: bool) -> tuple[int, ...]:
    return (*first[:-1], 1 if include_final else first[-1])


class _RoutedGradients(GradientRule):
    """One forward pass, then a walk over the blocks from the last to the first.

    Exits whose losses begin at the same block share a stream: the sum of the gradients of their losses with
    respect to the state between two blocks. A block's parameters take one product with the sum of all
    streams, and each stream that goes on takes one product with the block's input: what several
    truncations cost is their products, and no block runs twice.
    """

    def __init__(self, first_blocks: tuple[int, ...]) -> None:
        super().__init__()
        self._first_blocks = first_blocks

    def forward(self, net: AnytimeNet, x: Tensor, stages: Sequence[int], loss: GroupLoss) -> None:
        net.check_batch(x.shape)
        run = _Forward(chain_of(net, "routing acts"), x, stages)
        torch.stack(loss(run.group)).sum().backward()
        streams: dict[int, list[Tensor | None]] = {}
        for number in reversed(range(1, len(run.blocks) + 1)):
            block = run.blocks[number - 1]
            if number in run.read:
                stream = streams.setdefault(self._first_blocks[number - 1], [None] * len(block.after))
                stream[-1] = _sum(stream[-1], run.read[number].grad)
            streams = block.walk(streams, number)


class _Forward:
    """A forward pass through the published blocks, every block in a graph of its own."""

    def __init__(self, chain: ChainView, x: Tensor, stages: Sequence[int]) -> None:
        self.blocks: list[_BlockGraph] = []
        self.read: dict[int, Tensor] = {}
        outputs = {}
        state = (x,)
        for number in range(1, max(stages) + 1):
            before = as_leaves(state)
            block = chain.blocks[number - 1]
            state = block(before)
            self.blocks.append(_BlockGraph(block, before, state))
            if number in stages:
                (self.read[number],) = as_leaves(state[-1:])
                outputs[number] = chain.heads[number - 1]((self.read[number],))
        self.group = [(stage, outputs[stage]) for stage in stages]


class _BlockGraph:
    """One block's part of the graph: leaves before it, the state after it."""

    def __init__(self, block: nn.Module, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        self.before, self.after = before, after
        self._parameters = [p for p in block.parameters() if p.requires_grad]

    def walk(self, streams: dict[int, list[Tensor | None]], number: int) -> dict[int, list[Tensor | None]]:
        """Gives the block's parameters their gradient; returns the streams that go on, before the block."""
        ends = [stream for first, stream in streams.items() if first == number]
        onward = {first: stream for first, stream in streams.items() if first < number}
        inputs = [leaf for leaf in self.before if leaf.requires_grad]
        if not streams:
            return {}
        if not inputs:
            onward = {}
        if len(streams) == 1 and not ends and onward:
            ((first, stream),) = onward.items()
            self._backward(stream, [*self._parameters, *inputs], keep=False)
            return {first: take_gradients(self.before)}
        every = [_sum(*tensors) for tensors in zip(*streams.values(), strict=True)]
        self._backward(every, self._parameters, keep=bool(onward))
        passed_on = {}
        for left, (first, stream) in zip(reversed(range(len(onward))), onward.items(), strict=True):
            self._backward(stream, inputs, keep=left > 0)
            passed_on[first] = take_gradients(self.before)
        return passed_on

    def _backward(self, stream: Sequence[Tensor | None], inputs: Sequence[Tensor], *, keep: bool) -> None:
        pairs = [
            (tensor, cotangent)
            for tensor, cotangent in zip(self.after, stream, strict=True)
            if cotangent is not None and tensor.requires_grad
        ]
        if pairs and inputs:
            tensors, cotangents = zip(*pairs, strict=True)
            torch.autograd.backward(tensors, cotangents, inputs=inputs, retain_graph=keep)


def _sum(*tensors: Tensor | None) -> Tensor | None:
    """The sum of those that are there."""
    given = [tensor for tensor in tensors if tensor is not None]
    if not given:
        return None
    total = given[0]
    for tensor in given[1:]:
        total = total + tensor
    return total
