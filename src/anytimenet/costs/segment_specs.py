"""What every segment of a net reads, gives and costs: the table that planners, exporters and engines read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from anytimenet.core.checks import instance
from anytimenet.core.segments import INPUT, SegmentSpec, TensorSpec
from anytimenet.costs.counting import count
from anytimenet.costs.rules import Rules, as_rules
from anytimenet.costs.stage_costs import countable
from anytimenet.layers.snapshots import tensors_of
from anytimenet.nets.chain.shapes import ShapesOnly
from anytimenet.nets.contract import AnytimeNet, Output, Segment, State
from anytimenet.nets.segment import Changes, check_segment, concatenate


def segment_specs(
    net: AnytimeNet, input_shape: Sequence[int], *, rules: Rules | None = None
) -> tuple[SegmentSpec, ...]:
    """Every segment (a, b) of `net`, 0 <= a < b <= K, for one example of `input_shape`; by a, then b.

    Nothing is computed: it works on a copy on the meta device, as `stage_costs` does. A chain of many stages
    takes no longer than a few forward passes, for its modules are counted once; see `AnytimeNet.pieces`.

    Args:
        net: any anytime net.
        input_shape: (C, H, W) of images, without the batch.
        rules: for operators that the counter does not know, as in `stage_costs`; without one they count 0.

    Raises:
        ValueError: if the net cannot read an input of that shape.
        TypeError: if `rules` is no mapping from names to functions or numbers.

    >>> from anytimenet.nets import create_net
    >>> specs = segment_specs(create_net("isresnext_tiny"), (3, 8, 8))
    >>> [(spec.start, spec.stop, spec.macs) for spec in specs[:3]]
    [(0, 1, 17056), (0, 2, 35648), (0, 3, 55776)]
    """
    instance(net, AnytimeNet, "net", "create_net(NAME)")
    shape = net.input_spec.shape_of(input_shape)
    counter = _Counter(*countable(net, shape), as_rules(rules))
    return tuple(
        counter.segment(start, stop)
        for start in range(net.num_stages)
        for stop in range(start + 1, net.num_stages + 1)
    )


def segment_macs(
    net: AnytimeNet,
    input_shape: Sequence[int],
    path: Sequence[tuple[int, int]],
    *,
    rules: Rules | None = None,
) -> list[int]:
    """The multiply-adds of each segment of `path` for one example: the counted side of a run.

    Args:
        net, input_shape, rules: as in `segment_specs`.
        path: segments (start, stop), the first from 0, each from where the one before stops.

    Raises:
        ValueError: if the segments are no path of this net, or it cannot read an input of that shape.

    >>> from anytimenet.nets import create_net
    >>> net = create_net("isresnext_tiny")
    >>> segment_macs(net, (3, 8, 8), [(0, 1), (1, 3)]), segment_macs(net, (3, 8, 8), [(0, 3)])
    ([17056, 38880], [55776])
    """
    for (start, stop), reached in zip(path, (0, *(stop for _, stop in path)), strict=False):
        if start != reached:
            raise ValueError(f"segment ({start}, {stop}) cannot follow stage {reached}: start it there")
        check_segment(start, stop, False, net.num_stages)
    counter = _Counter(*countable(net, net.input_spec.shape_of(input_shape)), as_rules(rules))
    return [counter.segment(start, stop).macs for start, stop in path]


class _Counter:
    """Counts segments of a net on the meta device, and each piece of them once."""

    def __init__(self, net: AnytimeNet, example: Tensor, rules: Rules) -> None:
        self.net, self.example, self.rules = net, example, rules
        self.snapshot = net.snapshot()
        self.states: list[State] = [(example,)]
        self.outputs: list[Output] = []
        self.names = [net.state_names(stage) for stage in range(net.num_stages + 1)]
        self.alike = [0]
        for stage in range(1, net.num_stages + 1):
            step = self.snapshot.segment(stage - 1, stage)
            with torch.inference_mode(), ShapesOnly():
                state, output = step(self.states[-1])
            self.states.append(state)
            self.outputs.append(output)
            same = self.names[stage] == self.names[stage - 1] and all(map(is_, *self.states[-2:]))
            self.alike.append(0 if self.names[stage] == (INPUT,) else self.alike[-1] if same else stage)
        self._segments: dict[tuple[int, int], tuple[int, int]] = {}
        self._pieces: dict[str, tuple[int, int]] = {}

    def segment(self, start: int, stop: int) -> SegmentSpec:
        pieces = self.net.pieces(start, stop)
        if pieces is None:
            segment = self.snapshot.segment(start, stop)
            changes, (macs, weight_bytes) = self._changes(segment), self._whole(segment)
        else:
            costs, changes = [self._piece(name) for name in pieces.modules], pieces.changes
            macs, weight_bytes = sum(cost for cost, _ in costs), sum(size for _, size in costs)
        after = _described(self.names[stop], self.states[stop])
        return SegmentSpec(
            start,
            stop,
            reads=_described(self.names[start], self.states[start]),
            changes=tuple(_changed(spec, changes[spec.name]) for spec in after if spec.name in changes),
            outputs=_described(
                [f"level{number}" for number in range(1, len(self.net.num_classes) + 1)],
                self.outputs[stop - 1],
            ),
            macs=macs,
            weight_bytes=weight_bytes,
            state_bytes=sum(spec.nbytes for spec in after),
        )

    @cached_property
    def inputs(self) -> Mapping[nn.Module, tuple[Any, ...]]:
        """What each module reads in a forward pass."""
        read: dict[nn.Module, tuple[Any, ...]] = {}
        hooks = [module.register_forward_pre_hook(read.__setitem__) for module in self.net.modules()]
        with torch.inference_mode(), ShapesOnly():
            self.net(self.example)
        for hook in hooks:
            hook.remove()
        return read

    def _changes(self, segment: Segment) -> Changes:
        """What a segment gives; one that only says what may be new is run to see."""
        if type(segment).advance is not Segment.advance:
            return segment.changes
        with torch.inference_mode(), ShapesOnly():
            given, _ = segment.advance(self.states[segment.start], concatenate)
        return {name: how for name, how in segment.changes.items() if name in given}

    def _whole(self, segment: Segment) -> tuple[int, int]:
        """Multiply-adds and bytes of a segment: those of an earlier start, if the state is still the same."""
        key = (self.alike[segment.start], segment.stop)
        if key not in self._segments:
            self._segments[key] = self._cost(segment, (self.states[segment.start],))
        return self._segments[key]

    def _piece(self, name: str) -> tuple[int, int]:
        if name not in self._pieces:
            module = self.net.get_submodule(name)
            self._pieces[name] = self._cost(module, self.inputs[module])
        return self._pieces[name]

    def _cost(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[int, int]:
        counted = count(module, *inputs, rules=self.rules, uncounted=set())
        return counted.macs, sum(t.numel() * t.element_size() for t in tensors_of(module))


def _described(names: Sequence[str], tensors: Sequence[Tensor]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name, tuple(tensor.shape[1:]), str(tensor.dtype).removeprefix("torch."))
        for name, tensor in zip(names, tensors, strict=True)
    )


def _changed(spec: TensorSpec, how: tuple[str, int] | None) -> TensorSpec:
    return spec if how is None else replace(spec, continues=how[0], grows=how[1])
