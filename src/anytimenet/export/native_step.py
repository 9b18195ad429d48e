"""A step while it is lowered: the value of every node so far, and the operators that give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from torch.fx import Node

from anytimenet.export.native_places import Places
from anytimenet.export.native_program import NONE, Code, Norm, Op, ProgramWriter, View
from anytimenet.export.native_tails import Tail, tail_of
from anytimenet.export.stored import Piece
from anytimenet.export.unknown import UnknownOperatorError


@dataclass(frozen=True)
class Zeros:
    """Channels of nothing but zeros that lie nowhere yet."""

    channels: int


class StepWriter:
    """What the functions that lower operators read and write.

    Args:
        program: gets weights and tensors.
        places: where tensors lie.
        pieces: what each parameter and buffer is made of, by name.
        parameters: the name of each placeholder that is one.
        body_nodes: what later stages need; all else is the head.

    Attributes:
        values: of each node that is done: where it lies, `Zeros`, a list of views, None if nobody reads it.
        pooling: what a pooling does to the pixels that it reads, by the node that it reads.
        body: operators of what later stages need.
        head: the others.
    """

    def __init__(
        self,
        program: ProgramWriter,
        places: Places,
        pieces: Mapping[str, Piece],
        parameters: Mapping[str, str],
        body_nodes: set[Node],
    ) -> None:
        self.program, self._places, self._pieces, self._parameters = program, places, pieces, parameters
        self._body_nodes = body_nodes
        self.values: dict[Node, Any] = {}
        self.pooling: dict[Node, Tail] = {}
        self.body: list[Op] = []
        self.head: list[Op] = []

    def home(self, node: Node) -> View:
        """The place of a node, a new one if it has none."""
        return self._places.home(node)

    def has_home(self, node: Node) -> bool:
        """Whether it must lie in a place of its own."""
        return node in self._places.homes

    def emit(self, node: Node, op: Op) -> None:
        """Writes an operator."""
        (self.body if node in self._body_nodes else self.head).append(op)

    def tail(self, node: Node, *, norms: bool = True, adds: bool = False) -> Tail:
        """What the operator of a node does with its result by itself."""

        def is_there(other: Node) -> bool:
            return isinstance(self.values.get(other), View)

        return tail_of(node, self._places.homes, is_there, norms=norms, adds=adds)

    def finished(self, op: Op, tail: Tail) -> Op:
        """The operator with its tail."""
        return replace(op, norm=self._norm(tail.norm) if tail.norm else None, low=tail.low, high=tail.high)

    def done(self, node: Node, tail: Tail, value: View | None) -> None:
        """All nodes up to the end of the tail are done; those before it are read by nobody else."""
        while node is not tail.end:
            self.values[node] = None
            node = next(iter(node.users))
        self.values[node] = value

    def _norm(self, found: tuple[Node, int]) -> Norm:
        node, start = found
        gamma, beta, mean, variance, training, _, epsilon = node.args[1:8]
        if training or mean is None or variance is None:
            raise UnknownOperatorError("a BatchNorm that takes its statistics from the batch")
        weights = [self.weight(each) for each in (gamma, beta, mean, variance)]
        return Norm(weights[0], weights[1], weights[2], weights[3], cast(float, epsilon), start)

    def weight(self, node: Any) -> int:
        """The number of a weight in the program; NONE for None."""
        if node is None:
            return NONE
        if not isinstance(node, Node) or node.name not in self._parameters:
            raise UnknownOperatorError("a weight that is computed")
        return self.program.weight(self._pieces[self._parameters[node.name]])

    def image(self, node: Any) -> View:
        """Where the image of a node lies."""
        value = self.values.get(node)
        if not isinstance(value, View) or value.flat:
            raise UnknownOperatorError("arithmetic with something else than images")
        return value


def copy_of(value: Any, to: View) -> Op:
    """The operator that copies an image."""
    if not isinstance(value, View) or value.flat or value.channels != to.channels:
        raise UnknownOperatorError("a copy of something else than an image")
    return Op(Code.AFFINE, to, value)
