"""The graph behind a chain: who needs what, in which order, and what crosses a border. Names only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from anytimenet.core.segments import INPUT


@dataclass(frozen=True)
class Link:
    """A node's place: its name, the names that it reads, and the number of its block, from 1."""

    name: str
    inputs: tuple[str, ...]
    block: int


@dataclass(frozen=True)
class Step:
    """A node's turn in a run.

    Attributes:
        name, inputs, block: as in `Link`.
        frees: tensors that nothing reads afterwards.
        read_by: stages whose heads read this node's tensor.
    """

    name: str
    inputs: tuple[str, ...]
    block: int
    frees: tuple[str, ...]
    read_by: tuple[int, ...] = ()


class Graph:
    """Nodes in an order in which they can run, and the node that each stage's head reads.

    Args:
        links: every node after those that it reads.
        exits: a node's name for each stage.

    Raises:
        ValueError: see `ChainNet`.

    >>> graph = Graph((Link("a", ("x",), 1), Link("b", ("a",), 1), Link("c", ("a", "b"), 2)), ("b", "c"))
    >>> graph.state(1), sorted(graph.need(2) - graph.need(1))
    (('a', 'b'), ['c'])
    """

    def __init__(self, links: Sequence[Link], exits: Sequence[str]) -> None:
        self.links = tuple(links)
        self.exits = tuple(exits)
        self._check_names()
        self._need = [self._ancestors(name) for name in self.exits]
        self._check_stages()
        self._state = self._states()
        self._runs: dict[tuple[int, ...], tuple[Step, ...]] = {}

    def need(self, stage: int) -> frozenset[str]:
        """The nodes that stage `stage` is computed from, its own included."""
        return self._need[stage - 1]

    def needed(self, stages: Iterable[int]) -> frozenset[str]:
        """The nodes that any of `stages` needs."""
        return frozenset().union(*(self.need(stage) for stage in stages))

    def state(self, stage: int) -> tuple[str, ...]:
        """What later segments read of the work of stage `stage` and of the images, images first."""
        return self._state[stage - 1]

    def border(self, block: int) -> tuple[str, ...]:
        """What crosses from block `block` to later ones in the published view; the exit's tensor is last."""
        later = {name for link in self.links if link.block > block for name in link.inputs}
        later |= set(self.exits[block:])
        here = [INPUT, *(link.name for link in self.links if link.block <= block)]
        exit_name = self.exits[block - 1]
        return (*(name for name in here if name in later and name != exit_name), exit_name)

    def schedule(self, wanted: frozenset[str], results: frozenset[str]) -> tuple[Step, ...]:
        """The turns of the nodes `wanted`; tensors in `results` are kept to the end."""
        steps: list[Step] = []
        read_later: set[str] = set(results)
        for link in reversed([link for link in self.links if link.name in wanted]):
            ends = {link.name, *link.inputs} - read_later
            # The images and what a state brings belong to the caller; dropping the name frees nothing else.
            steps.append(Step(link.name, link.inputs, link.block, tuple(sorted(ends))))
            read_later |= {link.name, *link.inputs}
        return tuple(reversed(steps))

    def run(self, stages: tuple[int, ...]) -> tuple[Step, ...]:
        """The turns of a forward pass that predicts `stages`."""
        steps = self._runs.get(stages)
        if steps is None:
            readers = {name: tuple(s for s in stages if self.exits[s - 1] == name) for name in self.exits}
            steps = tuple(
                replace(step, read_by=readers.get(step.name, ()))
                for step in self.schedule(self.needed(stages), frozenset())
            )
            self._runs[stages] = steps
        return steps

    def _ancestors(self, name: str) -> frozenset[str]:
        found = {name}
        for link in reversed(self.links):
            if link.name in found:
                found |= set(link.inputs)
        return frozenset(found - {INPUT})

    def _states(self) -> list[tuple[str, ...]]:
        """Backwards from the last stage: what a later segment reads, and what a later state still holds."""
        inputs = {link.name: set(link.inputs) for link in self.links}
        order = [INPUT, *inputs]
        states: list[tuple[str, ...]] = [()] * len(self.exits)
        for stage in range(len(self.exits) - 1, 0, -1):
            have = {INPUT, *self.need(stage)}
            carried: set[str] = set()
            for later in range(stage + 1, len(self.exits) + 1):
                for name in self.need(later) - have:
                    carried |= inputs[name] & have
                carried |= ({self.exits[later - 1]} | set(states[later - 1])) & have
            states[stage - 1] = tuple(name for name in order if name in carried)
        return states

    def _check_names(self) -> None:
        known = {INPUT}
        for link in self.links:
            if link.name in known or not link.name or "." in link.name:
                raise ValueError(
                    f"a node cannot be named {link.name!r}: names are different, without dots, and not 'x'"
                )
            missing = [name for name in link.inputs if name not in known]
            if missing or not link.inputs:
                raise ValueError(
                    f"node {link.name!r} reads {missing or 'nothing'}: its inputs must be nodes before it "
                    "or 'x'"
                )
            known.add(link.name)
        for stage, name in enumerate(self.exits, 1):
            if name not in known - {INPUT}:
                raise ValueError(f"stage {stage} reads {name!r}, which is no node of this graph")

    def _check_stages(self) -> None:
        block = {link.name: link.block for link in self.links}
        for stage, needed in enumerate(self._need, 1):
            late = sorted(name for name in needed if block[name] > stage)
            if late:
                raise ValueError(
                    f"stage {stage} needs {late[0]!r} of block {block[late[0]]}: put it into an earlier block"
                )
        idle = [
            link.name for link in self.links if link.name not in self.needed(range(1, len(self.exits) + 1))
        ]
        if idle:
            raise ValueError(f"node {idle[0]!r} serves no prediction: leave it out")
