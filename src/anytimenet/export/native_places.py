"""Where the tensors of a step lie: what grows or is joined later is computed where it belongs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from torch.fx import Node

from anytimenet.core.segments import SegmentSpec
from anytimenet.export.native_nodes import (
    CAT,
    MEANS,
    PAD,
    channels_of,
    image_shape,
    is_view,
    joins_channels,
    joins_rows,
    name_of,
    sides_of,
    source_of,
)
from anytimenet.export.native_program import Kind, ProgramWriter, View
from anytimenet.export.unknown import UnknownOperatorError


class Places:
    """The homes of the nodes of one step.

    Args:
        program: gets the tensors.
        inputs: names of the state's tensors by the names of their placeholders.
        before: where they lie.

    Attributes:
        homes: of each node that has a place of its own.
    """

    def __init__(self, program: ProgramWriter, inputs: Mapping[str, str], before: Mapping[str, View]) -> None:
        self._program, self._inputs, self._before = program, inputs, before
        self.homes: dict[Node, View] = {}

    def plan_state(self, spec: SegmentSpec, changes: Sequence[Node]) -> dict[str, View]:
        """Where the new state lies; the home of what each change appends."""
        found = dict(self._before)
        for change, node in zip(spec.changes, changes, strict=True):
            channels, height, width = image_shape(change)
            start = 0
            if change.continues is not None:
                if change.grows != 0:
                    raise UnknownOperatorError("a state that does not grow along the channels")
                start = self._before[change.continues].channels
            old = self._before.get(change.name)
            if change.continues == change.name and old is not None:
                whole = self._grown(old, channels)
            else:
                whole = self._program.view(self._program.tensor(Kind.KEPT, channels, height, width))
            found[change.name] = whole
            source = source_of(node)
            if source.op == "call_function" and source not in self.homes and not is_view(source):
                self.homes[source] = whole.part(start, channels)
        return found

    def _grown(self, old: View, channels: int) -> View:
        row = self._program.tensors[old.tensor]
        row.channels = max(row.channels, channels)
        return replace(old, channels=channels)

    def plan_joins(self, nodes: Sequence[Node], body: set[Node]) -> None:
        """Homes of what is joined: side by side, behind the state where that is what it begins with."""
        taken = {(home.tensor, home.channel) for home in self.homes.values()}
        for node in reversed(nodes):
            if name_of(node) == PAD and len(sides_of(node)) == 6:
                parts, start = [cast(Node, node.args[0])], sides_of(node)[4]
                sizes = [channels_of(parts[0])]
            elif name_of(node) == CAT and joins_channels(node) and not joins_rows(node):
                parts = list(cast(Sequence[Node], node.args[0]))
                sizes, start = [channels_of(part) for part in parts], 0
                behind = self._home_behind(parts, sizes, taken) if node in body else None
                if node not in self.homes and behind is not None:
                    self.homes[node] = behind
            else:
                continue
            home = self.home(node)
            for part, size in zip(parts, sizes, strict=True):
                source = source_of(part)
                if source.op == "call_function" and source not in self.homes and not is_view(source):
                    self.homes[source] = home.part(start, start + size)
                    taken.add((home.tensor, home.channel + start))
                start += size

    def _home_behind(
        self, parts: Sequence[Node], sizes: Sequence[int], taken: set[tuple[int, int]]
    ) -> View | None:
        """The place in the memory of a state tensor that goes on with what is joined to it, if it is free."""
        first = source_of(parts[0])
        if first.op != "placeholder" or first.name not in self._inputs:
            return None
        old = self._before[self._inputs[first.name]]
        if self._program.tensors[old.tensor].kind != Kind.KEPT or old.channels != sizes[0]:
            return None
        start = sizes[0]
        for part, size in zip(parts[1:], sizes[1:], strict=True):
            home = self.homes.get(source_of(part))
            here = (old.tensor, start)
            if (home is None and here in taken) or (home is not None and (home.tensor, home.channel) != here):
                return None
            start += size
        return self._grown(old, sum(sizes))

    def home(self, node: Node) -> View:
        """The place of a node, a new one if it has none."""
        if node not in self.homes:
            shape = node.meta["val"].shape
            flat = len(shape) == 2 or name_of(node) in MEANS
            sides = (1, 1) if flat else shape[2:]
            self.homes[node] = self._program.view(
                self._program.tensor(Kind.SCRATCH, shape[1], *sides, flat=flat)
            )
        return self.homes[node]
