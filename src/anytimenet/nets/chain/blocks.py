"""Blocks of a chain: nodes that are checked, run in the order of the graph, and end in a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from anytimenet.core.segments import INPUT
from anytimenet.layers.reducing import predict, reduce
from anytimenet.nets.chain.graph import Graph
from anytimenet.nets.segment import Output, State


@dataclass(frozen=True)
class Node:
    """One module of a chain: `module(*inputs)` returns a tensor.

    Attributes:
        name: of the node; it becomes part of the names in the state_dict.
        module: what computes it.
        inputs: names of earlier nodes, or "x" for the images. The module must not overwrite them: others may
            read them, too.

    A module that appends channels to one of its inputs can say so, for states that grow: its attribute
    `continues` is the number of that input (None: of no one), and `grow(*inputs)` gives what it appends, a
    tuple of tensors.
    """

    name: str
    module: nn.Module
    inputs: tuple[str, ...]


class ChainBlock(nn.ModuleDict):
    """One published block: all its nodes, from the state before it to the state after it.

    Attributes:
        reads: names of the tensors of the state before.
        writes: names of the tensors of the state after; the last is what the block's head reads.
    """

    def __init__(self, modules: dict[str, nn.Module], graph: Graph, number: int) -> None:
        super().__init__(modules)
        self.reads = (INPUT,) if number == 1 else graph.border(number - 1)
        self.writes = graph.border(number)
        own = frozenset(modules)
        self.steps = graph.schedule(own, frozenset(self.writes))

    def forward(self, state: State) -> State:
        tensors = dict(zip(self.reads, state, strict=True))
        for step in self.steps:
            tensors[step.name] = self[step.name](*(tensors[name] for name in step.inputs))
            for name in step.frees:
                del tensors[name]
        return tuple(tensors[name] for name in self.writes)


class ChainHead(nn.Module):
    """A head on a state: it reads the state's last tensor, and its answer is an output, a tuple."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, state: State) -> Output:
        output = self.head(state[-1])
        return (output,) if isinstance(output, Tensor) else tuple(output)

    def reduce(self, features: Tensor) -> Tensor:
        """The part of its work on a state's last tensor that needs no weights; see `layers.reducing`."""
        return reduce(self.head, features)

    def predict(self, reduced: Tensor) -> Output:
        """The output from what `reduce` gave."""
        return predict(self.head, reduced)


def named_heads(heads: Sequence[nn.Module]) -> list[tuple[str, nn.Module]]:
    return [(f"the head of stage {stage}", head) for stage, head in enumerate(heads, 1)]


def check_node(node: Node) -> None:
    if not isinstance(node.module, nn.Module):
        raise ValueError(f"node {node.name!r} needs a module, not {type(node.module).__name__}")
    if isinstance(node.inputs, str):
        raise ValueError(f"node {node.name!r}: inputs is a tuple of names, for example ({node.inputs!r},)")
    if hasattr(nn.ModuleDict, node.name) or node.name in ("training", "reads", "writes", "steps"):
        raise ValueError(f"a node cannot be named {node.name!r}: blocks have an attribute of that name")


def check_own(modules: Sequence[tuple[str, nn.Module]]) -> None:
    """Each weight belongs to one node or head: who uses what would not be known otherwise."""
    owners: dict[int, str] = {}
    for name, module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            other = owners.setdefault(id(tensor), name)
            if other != name:
                raise ValueError(
                    f"{name} shares weights with {other}: give each a module of its own (copy.deepcopy), or "
                    "run both inside one node"
                )
