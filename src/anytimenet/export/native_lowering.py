"""Recorded steps as operators of the native engine.

A tensor of the state that grows lies in one memory from the first stage on, and what a step appends to it is
computed where it belongs. BatchNorm, ReLU and the addition of a residual are done by the convolution whose
result they alone read; prefixes and joined rows of channels are places in memory, and cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, cast

from torch.fx import Node

from anytimenet.core.segments import SegmentSpec, TensorSpec
from anytimenet.export.merging import settings_of
from anytimenet.export.native_nodes import (
    ADDS,
    ASSERTION,
    CAT,
    CLAMPS,
    CONV,
    MEANS,
    NORM,
    PAD,
    RELUS,
    SAME,
    SHAPES,
    VIEWS,
    channels_of,
    is_view,
    joins_channels,
    name_of,
    pair,
    pooled_by_heads,
    sides_of,
    source_of,
    with_ancestors,
)
from anytimenet.export.native_places import Places
from anytimenet.export.native_program import (
    COUNT_BORDER,
    NONE,
    Code,
    Kind,
    Norm,
    Op,
    ProgramWriter,
    View,
    Window,
)
from anytimenet.export.native_tails import Tail, tail_of
from anytimenet.export.recording import Recorded
from anytimenet.export.stored import Piece
from anytimenet.export.unknown import UnknownOperatorError


@dataclass(frozen=True)
class Zeros:
    """Channels of nothing but zeros that lie nowhere yet."""

    channels: int


class StepLowering:
    """The operators of one step, which `program` gets.

    Args:
        program: with the stages before.
        recorded: the step.
        spec: of it.
        pieces: what each parameter and buffer is made of, by name.
        state: where the tensors of the state before lie, by name.
        last: whether nothing can follow.

    Attributes:
        body: what later stages need, or, of the last one, what lies before the pooling of the head.
        head: the rest.
        outputs: the tensors of the logits, one a label level.
        state: where the tensors of the state behind the step lie, by name.

    Raises:
        UnknownOperatorError: for an operator, or a use of one, that the engine does not have.
    """

    def __init__(
        self,
        program: ProgramWriter,
        recorded: Recorded,
        spec: SegmentSpec,
        pieces: Mapping[str, Piece],
        state: Mapping[str, View],
        *,
        last: bool,
    ) -> None:
        self._program, self._pieces = program, pieces
        self._nodes = recorded.nodes
        self._values: dict[Node, Any] = {}
        self._pooling: dict[Node, Tail] = {}
        self._parameters = recorded.parameters
        self.body: list[Op] = []
        self.head: list[Op] = []
        self._inputs = recorded.inputs
        self._before = dict(state)
        given = list(cast(Sequence[Node], self._nodes[-1].args[0]))
        changes = given[: len(spec.changes)]
        self._places = Places(program, self._inputs, self._before)
        self.state = self._places.plan_state(spec, changes)
        self.outputs = [program.tensor(Kind.OUTPUT, level.shape[0], flat=True) for level in spec.outputs]
        for node, output in zip(given[len(changes) :], self.outputs, strict=True):
            self._places.homes.setdefault(source_of(node), program.view(output))
        self._body_nodes = with_ancestors(pooled_by_heads(self._nodes) if last else changes)
        self._places.plan_joins(self._nodes, self._body_nodes)
        self._lower()
        for change, node in zip(spec.changes, changes, strict=True):
            self._settle(self.state[change.name], change, spec, node)
        for node, output in zip(given[len(changes) :], self.outputs, strict=True):
            if self._values[node] != program.view(output):
                raise UnknownOperatorError("an output that no linear layer gives")
        self._keep_what_heads_read()

    # ---- where things lie ----

    def _settle(self, whole: View, change: TensorSpec, spec: SegmentSpec, node: Node) -> None:
        """Copies to the state what does not lie there."""
        start = 0
        if change.continues is not None:
            old = self._before[change.continues]
            start = old.channels
            if old.tensor != whole.tensor:
                self.body.append(_copy(old, whole.part(0, start)))
        here, value = whole.part(start, whole.channels), self._values[node]
        if value != here:
            self.body.append(_copy(value, here))

    def _keep_what_heads_read(self) -> None:
        """What the body writes and the head reads must outlive the body."""
        written = {op.out.tensor for op in self.body}
        for op in self.head:
            for view in (op.read, op.other):
                if view is not None and view.tensor in written:
                    row = self._program.tensors[view.tensor]
                    row.kind = Kind.KEPT if row.kind == Kind.SCRATCH else row.kind

    def _emit(self, node: Node, op: Op) -> None:
        (self.body if node in self._body_nodes else self.head).append(op)

    # ---- the operators ----

    def _lower(self) -> None:
        for node in self._nodes:
            if node.op == "placeholder":
                if node.name in self._inputs:
                    self._values[node] = self._before[self._inputs[node.name]]
            elif node.op == "call_function":
                self._call(node)
            elif node.op != "output":
                raise UnknownOperatorError(f"{node.op} {node.target}")

    def _call(self, node: Node) -> None:
        name = name_of(node)
        if node in self._values or name == ASSERTION:  # the operator before has done it
            return
        if name == CONV:
            self._conv(node)
        elif name == "linear.default":
            self._linear(node)
        elif name in MEANS:
            self._mean(node)
        elif name in (NORM, *RELUS, *CLAMPS):
            self._affine(node)
        elif name in ADDS:
            self._add(node)
        elif name in ("avg_pool2d.default", "max_pool2d.default"):
            self._pool(node)
        elif name == CAT:
            self._cat(node)
        elif name in (PAD, "constant_pad_nd.default"):
            self._pad(node)
        elif name == "zeros_like.default":
            self._values[node] = Zeros(channels_of(node))
        else:
            self._values[node] = self._renamed(node, name)
        self._changed_in_place(node, name)

    def _changed_in_place(self, node: Node, name: str) -> None:
        """Whoever reads the changed tensor from now on reads what it was changed to."""
        if not name.partition(".")[0].endswith("_"):
            return
        changed = cast(Node, node.args[0])
        if len(changed.users) == 1:
            return
        if changed.op == "placeholder" or is_view(changed) or any(is_view(user) for user in changed.users):
            raise UnknownOperatorError(f"{name} of a view")
        self._values[changed] = self._values[node]

    def _renamed(self, node: Node, name: str) -> Any:
        """Views, and operators that do nothing here."""
        if name in ("dropout.default", "feature_dropout.default") and node.args[2]:
            raise UnknownOperatorError("dropout in training")
        value = self._values.get(cast(Node, node.args[0])) if node.args else None
        shape = getattr(node.meta.get("val"), "shape", ())
        if name == "to.dtype" and str(node.args[1]) != "torch.float32":
            raise UnknownOperatorError(f"a cast to {node.args[1]}")
        if name in SAME:
            return value
        if name in SHAPES and isinstance(value, View) and value.flat and prod(shape[1:]) == value.channels:
            return value
        if name == "getitem" and isinstance(value, list):
            return value[cast(int, node.args[1])]
        if name in VIEWS and isinstance(value, View):
            return self._cut(node, name, value)
        raise UnknownOperatorError(name)

    def _cut(self, node: Node, name: str, value: View) -> Any:
        dims = len(cast(Any, node.args[0]).meta["val"].shape)
        arguments: list[Any] = list(node.args[1:])
        if name.startswith("split"):
            sizes, axis = arguments[0], (arguments[1] if len(arguments) > 1 else 0) % dims
            if axis != 1:
                raise UnknownOperatorError("a split of something else than channels")
            starts = [sum(sizes[:place]) for place in range(len(sizes))]
            return [value.part(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        if name == "narrow.default":
            arguments = [arguments[0], arguments[1], arguments[1] + arguments[2]]
        arguments += (0, None, None, 1)[len(arguments) :]
        axis, start, stop, step = arguments
        size = value.channels if axis % dims == 1 else 2**62
        begin, end, by = slice(start, stop, step).indices(size)
        if by != 1 or (axis % dims != 1 and (begin, end) != (0, size)):
            raise UnknownOperatorError(f"{name} of something else than channels")
        return value.part(begin, end) if axis % dims == 1 else value

    def _conv(self, node: Node) -> None:
        bias, stride, padding, dilation, groups = settings_of(node)
        if isinstance(padding, str) or tuple(pair(dilation)) != (1, 1):
            raise UnknownOperatorError("a convolution that is dilated, or padded by a word")
        read = cast(Node, node.args[0])
        sides: tuple[int, ...] = (0, 0, 0, 0)
        if name_of(read) == PAD and read not in self._values:
            sides, read = sides_of(read), cast(Node, read.args[0])
        value = self._image_of(read)
        height, width = cast(Any, node.args[1]).meta["val"].shape[2:]
        down, across = pair(padding)
        window = Window(
            height,
            width,
            *pair(stride),
            sides[2] + down,
            sides[0] + across,
            sides[3] + down,
            sides[1] + across,
        )
        alone = window == Window(1, 1, 1, 1) and groups == 1
        tail = self._tail(node, adds=alone)
        home = self._places.home(tail.end)
        out = home.part(tail.start, tail.start + channels_of(node))
        other = None
        if tail.other is not None:
            added, start = tail.other
            other = self._image_of(added).part(start, start + out.channels)
        macs = prod(cast(Any, node.args[1]).meta["val"].shape) * out.height * out.width
        op = Op(
            Code.CONV,
            out,
            value,
            other,
            window,
            groups,
            self._weight(node.args[1]),
            self._weight(bias),
            macs=macs,
        )
        self._emit(node, self._finished(op, tail))
        self._done(node, tail, home)

    def _linear(self, node: Node) -> None:
        read = self._values[cast(Node, node.args[0])]
        whole = isinstance(read, View) and read == self._program.view(read.tensor) and read.flat
        if not whole or len(node.meta["val"].shape) != 2:
            raise UnknownOperatorError("linear.default of something else than pooled features")
        tail = self._tail(node, norms=False)
        bias = node.args[2] if len(node.args) > 2 else None
        op = Op(
            Code.LINEAR,
            self._places.home(tail.end),
            read,
            weight=self._weight(node.args[1]),
            bias=self._weight(bias),
        )
        op.macs = op.out.channels * read.channels
        self._emit(node, self._finished(op, tail))
        self._done(node, tail, self._places.home(tail.end))

    def _mean(self, node: Node) -> None:
        over = [axis % 4 for axis in cast(Any, node.args[1])] if name_of(node) == "mean.dim" else [2, 3]
        size = pair(node.args[1]) if name_of(node) != "mean.dim" else (1, 1)
        read = cast(Node, node.args[0])
        if len(read.meta["val"].shape) != 4 or sorted(over) != [2, 3] or size != (1, 1) or node.kwargs:
            raise UnknownOperatorError("pooling of something else than all pixels of an image")
        tail = self._pooling.get(read) or Tail(read)
        op = Op(Code.MEAN, self._places.home(node), self._image_of(tail.end))
        self._emit(node, self._finished(op, tail))
        self._values[node] = self._places.home(node)

    def _affine(self, node: Node) -> None:
        read = cast(Node, node.args[0])
        tail = Tail(read)
        if not tail.take(node):
            raise UnknownOperatorError(name_of(node))
        while len(tail.end.users) == 1 and tail.take(next(iter(tail.end.users))):
            pass
        end = tail.end
        if (
            end not in self._places.homes
            and len(end.users) == 1
            and name_of(next(iter(end.users))) == "mean.dim"
        ):
            self._done(node, tail, None)
            self._pooling[end] = replace(tail, end=read)  # the pooling does it
            return
        op = self._finished(Op(Code.AFFINE, self._places.home(end), self._image_of(read)), tail)
        self._emit(node, op)
        self._done(node, tail, self._places.home(end))

    def _add(self, node: Node) -> None:
        one, other = node.args[:2]
        if node.kwargs.get("alpha", 1) != 1 or not isinstance(other, Node):
            raise UnknownOperatorError(f"{name_of(node)} with a number")
        views = self._image_of(one), self._image_of(other)
        if {view.channels for view in views} != {channels_of(node)}:
            raise UnknownOperatorError(f"{name_of(node)} of tensors that do not have one shape")
        tail = self._tail(node, norms=False)
        op = Op(
            Code.ADD, self._places.home(tail.end).part(tail.start, tail.start + channels_of(node)), *views
        )
        self._emit(node, self._finished(op, tail))
        self._done(node, tail, self._places.home(tail.end))

    def _pool(self, node: Node) -> None:
        largest = name_of(node) == "max_pool2d.default"
        rest = list(node.args[1:])
        defaults: tuple[Any, ...] = (
            ([], [0, 0], [1, 1], False) if largest else ([], [0, 0], False, True, None)
        )
        settings: list[Any] = [*rest, *defaults[len(rest) - 1 :]]
        kernel, stride, padding, *more = settings
        if (largest and pair(more[0]) != (1, 1)) or (not largest and more[2] is not None):
            raise UnknownOperatorError(f"{name_of(node)} that is dilated, or with a divisor")
        down, across = pair(padding)
        window = Window(*pair(kernel), *pair(stride or kernel), down, across, down, across)
        code = Code.LARGEST_POOL if largest else Code.AVERAGE_POOL
        op = Op(code, self._places.home(node), self._image_of(cast(Node, node.args[0])), window=window)
        if not largest and more[1]:
            op.flags |= COUNT_BORDER
        self._emit(node, op)
        self._values[node] = self._places.home(node)

    def _cat(self, node: Node) -> None:
        if not joins_channels(node):
            raise UnknownOperatorError("cat.default of something else than channels")
        home, start = self._places.home(node), 0
        for part in cast(Sequence[Node], node.args[0]):
            value = self._values[part]
            here = home.part(start, start + value.channels)
            if isinstance(value, Zeros):
                self._emit(node, Op(Code.ZERO, here))
            elif value != here:
                self._emit(node, _copy(value, here))
            start += value.channels
        self._values[node] = home

    def _pad(self, node: Node) -> None:
        sides = sides_of(node)
        if len(sides) != 6 or any(sides[:4]):
            if (
                len(sides) in (4, 6)
                and all(name_of(user) == CONV for user in node.users)
                and not any(sides[4:])
            ):
                return  # the convolution does it
            raise UnknownOperatorError("padding that no convolution reads")
        value, home = self._image_of(cast(Node, node.args[0])), self._places.home(node)
        before, behind = sides[4], sides[4] + value.channels
        for start, stop in ((0, before), (behind, home.channels)):
            if start < stop:
                self._emit(node, Op(Code.ZERO, home.part(start, stop)))
        if value != home.part(before, behind):
            self._emit(node, _copy(value, home.part(before, behind)))
        self._values[node] = home

    # ---- tails ----

    def _tail(self, node: Node, *, norms: bool = True, adds: bool = False) -> Tail:
        def is_there(other: Node) -> bool:
            return isinstance(self._values.get(other), View)

        return tail_of(node, self._places.homes, is_there, norms=norms, adds=adds)

    def _finished(self, op: Op, tail: Tail) -> Op:
        return replace(op, norm=self._norm(tail.norm) if tail.norm else None, low=tail.low, high=tail.high)

    def _done(self, node: Node, tail: Tail, value: View | None) -> None:
        """All nodes up to the end of the tail are done; those before it are read by nobody else."""
        while node is not tail.end:
            self._values[node] = None
            node = next(iter(node.users))
        self._values[node] = value

    def _norm(self, found: tuple[Node, int]) -> Norm:
        node, start = found
        gamma, beta, mean, variance, training, _, epsilon = node.args[1:8]
        if training or mean is None or variance is None:
            raise UnknownOperatorError("a BatchNorm that takes its statistics from the batch")
        weights = [self._weight(each) for each in (gamma, beta, mean, variance)]
        return Norm(weights[0], weights[1], weights[2], weights[3], cast(float, epsilon), start)

    def _weight(self, node: Any) -> int:
        if node is None:
            return NONE
        if not isinstance(node, Node) or node.name not in self._parameters:
            raise UnknownOperatorError("a weight that is computed")
        return self._program.weight(self._pieces[self._parameters[node.name]])

    def _image_of(self, node: Any) -> View:
        value = self._values.get(node)
        if not isinstance(value, View) or value.flat:
            raise UnknownOperatorError("arithmetic with something else than images")
        return value


def _copy(value: Any, to: View) -> Op:
    if not isinstance(value, View) or value.flat or value.channels != to.channels:
        raise UnknownOperatorError("a copy of something else than an image")
    return Op(Code.AFFINE, to, value)
