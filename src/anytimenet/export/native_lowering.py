"""Traced steps as operators of the native engine.

A tensor of the state that grows lies in one memory from the first stage on, and what a step appends to it is
computed where it belongs. BatchNorm, ReLU and the addition of a residual are done by the convolution whose
result they alone read; prefixes and joined rows of channels are places in memory, and cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, prod
from typing import Any, cast

from torch.fx import Node

from anytimenet.core.segments import INPUT, SegmentSpec, TensorSpec
from anytimenet.export.merging import settings_of
from anytimenet.export.native_program import COUNT_BORDER, NONE, Code, Kind, Norm, Op, ProgramWriter, View, Window
from anytimenet.export.operators import UnknownOperatorError
from anytimenet.export.stored import Piece
from anytimenet.export.tracing import Traced, parameters_of, segment_name, user_inputs

_CONV, _NORM, _CAT, _PAD = "conv2d.default", "batch_norm.default", "cat.default", "pad.default"
_ADDS = ("add.Tensor", "add_.Tensor")
_RELUS = ("relu.default", "relu_.default")
_CLAMPS = ("relu6.default", "relu6_.default", "hardtanh.default", "hardtanh_.default", "clamp.default", "clamp_.default")
_SAME = (
    "clone.default",
    "contiguous.default",
    "detach.default",
    "alias.default",
    "dropout.default",
    "feature_dropout.default",
    "to.dtype",
)
_VIEWS = ("slice.Tensor", "narrow.default", "split_with_sizes.default", "split.sizes", "getitem")
_SHAPES = ("flatten.using_ints", "view.default", "reshape.default", "squeeze.dims", "squeeze.dim")
_ASSERTION = "_assert_tensor_metadata.default"


@dataclass(frozen=True)
class Zeros:
    """Channels of nothing but zeros that lie nowhere yet."""

    channels: int


@dataclass
class _Tail:
    """What is done to the result of an operator by the operator itself.

    Attributes:
        end: the node whose value then lies in memory.
        start: the channel of it where the result begins.
        norm: a BatchNorm, and the channel of it that belongs to the first one of the result.
        other: the node that is added, and its first channel that belongs here.
    """

    end: Node
    start: int = 0
    norm: tuple[Node, int] | None = None
    low: float = -inf
    high: float = inf
    clamped: bool = False
    other: tuple[Node, int] | None = None


class StepLowering:
    """The operators of one step, which `program` gets.

    Args:
        program: with the stages before.
        traced: the step.
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
        traced: Traced,
        spec: SegmentSpec,
        pieces: Mapping[str, Piece],
        state: Mapping[str, View],
        *,
        last: bool,
    ) -> None:
        self._program, self._pieces = program, pieces
        self._nodes = list(traced.program.graph.nodes)
        self._values: dict[Node, Any] = {}
        self._homes: dict[Node, View] = {}
        self._pooling: dict[Node, _Tail] = {}
        self._parameters = parameters_of(traced.program)
        self.body: list[Op] = []
        self.head: list[Op] = []
        names = [tensor.name for tensor in traced.inputs]
        self._inputs = dict(zip(user_inputs(traced.program), names, strict=True))
        self._before = dict(state)
        given = list(cast(Sequence[Node], self._nodes[-1].args[0]))
        changes = given[: len(spec.changes)]
        self.state = self._plan_state(spec, changes)
        self.outputs = [program.tensor(Kind.OUTPUT, level.shape[0], flat=True) for level in spec.outputs]
        for node, output in zip(given[len(changes) :], self.outputs, strict=True):
            self._homes.setdefault(_source(node), program.view(output))
        self._body_nodes = self._ancestors(self._pooled() if last else changes)
        self._plan_joins()
        self._lower()
        for change, node in zip(spec.changes, changes, strict=True):
            self._settle(self.state[change.name], change, spec, node)
        for node, output in zip(given[len(changes) :], self.outputs, strict=True):
            if self._values[node] != program.view(output):
                raise UnknownOperatorError("an output that no linear layer gives")
        self._keep_what_heads_read()

    # ---- where things lie ----

    def _plan_state(self, spec: SegmentSpec, changes: Sequence[Node]) -> dict[str, View]:
        """Where the new state lies; the home of what each change appends."""
        found = {name: view for name, view in self._before.items()}
        for change, node in zip(spec.changes, changes, strict=True):
            channels, height, width = _image(change)
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
            source = _source(node)
            if source.op == "call_function" and source not in self._homes and not _is_view(source):
                self._homes[source] = whole.part(start, channels)
        return found

    def _grown(self, old: View, channels: int) -> View:
        row = self._program.tensors[old.tensor]
        row.channels = max(row.channels, channels)
        return replace(old, channels=channels)

    def _plan_joins(self) -> None:
        """Homes of what is joined: side by side, behind the state where that is what it begins with."""
        taken = {(home.tensor, home.channel) for home in self._homes.values()}
        for node in reversed(self._nodes):
            if _name(node) == _PAD and len(_sides(node)) == 6:
                parts, sizes, start = [cast(Node, node.args[0])], [_channels(cast(Node, node.args[0]))], _sides(node)[4]
            elif _name(node) == _CAT and _along_channels(node) and not self._is_join_of_rows(node):
                parts = list(cast(Sequence[Node], node.args[0]))
                sizes, start = [_channels(part) for part in parts], 0
                behind = self._home_behind(parts, sizes, taken) if node in self._body_nodes else None
                if node not in self._homes and behind is not None:
                    self._homes[node] = behind
            else:
                continue
            home = self._home(node)
            for part, size in zip(parts, sizes, strict=True):
                source = _source(part)
                if source.op == "call_function" and source not in self._homes and not _is_view(source):
                    self._homes[source] = home.part(start, start + size)
                    taken.add((home.tensor, home.channel + start))
                start += size

    def _home_behind(self, parts: Sequence[Node], sizes: Sequence[int], taken: set[tuple[int, int]]) -> View | None:
        """The place in the memory of a state tensor that goes on with what is joined to it, if it is free."""
        first = _source(parts[0])
        if first.op != "placeholder" or first.name not in self._inputs:
            return None
        old = self._before[self._inputs[first.name]]
        if self._program.tensors[old.tensor].kind != Kind.KEPT or old.channels != sizes[0]:
            return None
        start = sizes[0]
        for part, size in zip(parts[1:], sizes[1:], strict=True):
            home = self._homes.get(_source(part))
            here = (old.tensor, start)
            if (home is None and here in taken) or (home is not None and (home.tensor, home.channel) != here):
                return None
            start += size
        return self._grown(old, sum(sizes))

    def _home(self, node: Node) -> View:
        if node not in self._homes:
            shape = node.meta["val"].shape
            flat = len(shape) == 2 or _name(node) == "mean.dim" or _name(node) == "adaptive_avg_pool2d.default"
            sides = (1, 1) if flat else shape[2:]
            self._homes[node] = self._program.view(self._program.tensor(Kind.SCRATCH, shape[1], *sides, flat=flat))
        return self._homes[node]

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

    # ---- what belongs to the body ----

    def _pooled(self) -> list[Node]:
        """What the pooling of the heads reads, before a BatchNorm and an activation of its own."""
        found = []
        for node in self._nodes:
            if _name(node) in ("mean.dim", "adaptive_avg_pool2d.default"):
                read = cast(Node, node.args[0])
                while _name(read) in (*_RELUS, *_CLAMPS, _NORM, *_SAME) and len(read.users) == 1:
                    read = cast(Node, read.args[0])
                found.append(read)
        return found

    def _ancestors(self, nodes: Sequence[Node]) -> set[Node]:
        found, left = set(), list(nodes)
        while left:
            node = left.pop()
            if node not in found:
                found.add(node)
                left += node.all_input_nodes
        return found

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
        name = _name(node)
        if node in self._values or name == _ASSERTION:  # the operator before has done it
            return
        if name == _CONV:
            self._conv(node)
        elif name == "linear.default":
            self._linear(node)
        elif name in ("mean.dim", "adaptive_avg_pool2d.default"):
            self._mean(node)
        elif name in (_NORM, *_RELUS, *_CLAMPS):
            self._affine(node)
        elif name in _ADDS:
            self._add(node)
        elif name in ("avg_pool2d.default", "max_pool2d.default"):
            self._pool(node)
        elif name == _CAT:
            self._cat(node)
        elif name in (_PAD, "constant_pad_nd.default"):
            self._pad(node)
        elif name == "zeros_like.default":
            self._values[node] = Zeros(_channels(node))
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
        if changed.op == "placeholder" or _is_view(changed) or any(_is_view(user) for user in changed.users):
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
        if name in _SAME:
            return value
        if name in _SHAPES and isinstance(value, View) and value.flat and prod(shape[1:]) == value.channels:
            return value
        if name == "getitem" and isinstance(value, list):
            return value[cast(int, node.args[1])]
        if name in _VIEWS and isinstance(value, View):
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
            axis, start, stop, step = arguments[0], arguments[1], arguments[1] + arguments[2], 1
        else:
            axis, start, stop, step = (*arguments, *(0, None, None, 1)[len(arguments) :])
        size = value.channels if axis % dims == 1 else 2**62
        begin, end, by = slice(start, stop, step).indices(size)
        if by != 1 or (axis % dims != 1 and (begin, end) != (0, size)):
            raise UnknownOperatorError(f"{name} of something else than channels")
        return value.part(begin, end) if axis % dims == 1 else value

    def _conv(self, node: Node) -> None:
        bias, stride, padding, dilation, groups = settings_of(node)
        if isinstance(padding, str) or tuple(_pair(dilation)) != (1, 1):
            raise UnknownOperatorError("a convolution that is dilated, or padded by a word")
        read, sides = cast(Node, node.args[0]), (0, 0, 0, 0)
        if _name(read) == _PAD and read not in self._values:
            sides, read = _sides(read), cast(Node, read.args[0])
        value = self._image_of(read)
        height, width = cast(Any, node.args[1]).meta["val"].shape[2:]
        down, across = _pair(padding)
        window = Window(
            height, width, *_pair(stride), sides[2] + down, sides[0] + across, sides[3] + down, sides[1] + across
        )
        alone = window == Window(1, 1, 1, 1) and groups == 1
        tail = self._tail(node, adds=alone)
        home = self._home(tail.end)
        out = home.part(tail.start, tail.start + _channels(node))
        if tail.norm is None and tail.low == -inf and tail.high == inf and tail.other is None and value == out:
            raise UnknownOperatorError("a convolution in place")
        other = None
        if tail.other is not None:
            added, start = tail.other
            other = self._image_of(added).part(start, start + out.channels)
        macs = prod(cast(Any, node.args[1]).meta["val"].shape) * out.height * out.width
        op = Op(
            Code.CONV, out, value, other, window, groups, self._weight(node.args[1]), self._weight(bias), macs=macs
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
        op = Op(Code.LINEAR, self._home(tail.end), read, weight=self._weight(node.args[1]), bias=self._weight(bias))
        op.macs = op.out.channels * read.channels
        self._emit(node, self._finished(op, tail))
        self._done(node, tail, self._home(tail.end))

    def _mean(self, node: Node) -> None:
        over = [axis % 4 for axis in cast(Any, node.args[1])] if _name(node) == "mean.dim" else [2, 3]
        size = _pair(node.args[1]) if _name(node) != "mean.dim" else (1, 1)
        read = cast(Node, node.args[0])
        if len(read.meta["val"].shape) != 4 or sorted(over) != [2, 3] or size != (1, 1) or node.kwargs:
            raise UnknownOperatorError("pooling of something else than all pixels of an image")
        tail = self._pooling.get(read) or _Tail(read)
        op = Op(Code.MEAN, self._home(node), self._image_of(tail.end))
        self._emit(node, self._finished(op, tail))
        self._values[node] = self._home(node)

    def _affine(self, node: Node) -> None:
        read = cast(Node, node.args[0])
        tail = _Tail(read)
        if not self._take(tail, node):
            raise UnknownOperatorError(_name(node))
        while len(tail.end.users) == 1 and self._take(tail, next(iter(tail.end.users))):
            pass
        end = tail.end
        if end not in self._homes and len(end.users) == 1 and _name(next(iter(end.users))) == "mean.dim":
            self._done(node, tail, None)
            self._pooling[end] = replace(tail, end=read)  # the pooling does it
            return
        op = self._finished(Op(Code.AFFINE, self._home(end), self._image_of(read)), tail)
        self._emit(node, op)
        self._done(node, tail, self._home(end))

    def _add(self, node: Node) -> None:
        one, other = node.args[:2]
        if node.kwargs.get("alpha", 1) != 1 or not isinstance(other, Node):
            raise UnknownOperatorError(f"{_name(node)} with a number")
        views = [self._image_of(one), self._image_of(other)]
        if {view.channels for view in views} != {_channels(node)}:
            raise UnknownOperatorError(f"{_name(node)} of tensors that do not have one shape")
        tail = self._tail(node, norms=False)
        op = Op(Code.ADD, self._home(tail.end).part(tail.start, tail.start + _channels(node)), *views)
        self._emit(node, self._finished(op, tail))
        self._done(node, tail, self._home(tail.end))

    def _pool(self, node: Node) -> None:
        largest = _name(node) == "max_pool2d.default"
        rest = list(node.args[1:])
        defaults: tuple[Any, ...] = ([], [0, 0], [1, 1], False) if largest else ([], [0, 0], False, True, None)
        kernel, stride, padding, *more = (*rest, *defaults[len(rest) - 1 :])
        if (largest and _pair(more[0]) != (1, 1)) or (not largest and more[2] is not None):
            raise UnknownOperatorError(f"{_name(node)} that is dilated, or with a divisor")
        down, across = _pair(padding)
        window = Window(*_pair(kernel), *_pair(stride or kernel), down, across, down, across)
        code = Code.LARGEST_POOL if largest else Code.AVERAGE_POOL
        op = Op(code, self._home(node), self._image_of(cast(Node, node.args[0])), window=window)
        if not largest and more[1]:
            op.flags |= COUNT_BORDER
        self._emit(node, op)
        self._values[node] = self._home(node)

    def _cat(self, node: Node) -> None:
        if not _along_channels(node):
            raise UnknownOperatorError("cat.default of something else than channels")
        home, start = self._home(node), 0
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
        sides = _sides(node)
        if len(sides) != 6 or any(sides[:4]):
            if len(sides) in (4, 6) and all(_name(user) == _CONV for user in node.users) and not any(sides[4:]):
                return  # the convolution does it
            raise UnknownOperatorError("padding that no convolution reads")
        value, home = self._image_of(cast(Node, node.args[0])), self._home(node)
        before, behind = sides[4], sides[4] + value.channels
        for start, stop in ((0, before), (behind, home.channels)):
            if start < stop:
                self._emit(node, Op(Code.ZERO, home.part(start, stop)))
        if value != home.part(before, behind):
            self._emit(node, _copy(value, home.part(before, behind)))
        self._values[node] = home

    # ---- tails ----

    def _tail(self, node: Node, *, norms: bool = True, adds: bool = False) -> _Tail:
        """What an operator does by itself with its result."""
        tail = _Tail(node)
        while len(tail.end.users) == 1 and tail.end not in self._homes:
            user = next(iter(tail.end.users))
            if self._take(tail, user, norms=norms and tail.other is None):
                continue
            if self._is_join_of_rows(user) and not tail.clamped and tail.norm is None and tail.other is None and norms:
                parts = cast(Sequence[Node], user.args[0])
                tail.start += sum(_channels(part) for part in parts[: parts.index(tail.end)])
                tail.end = user
            elif adds and not tail.clamped and tail.other is None and self._can_add(tail, user):
                one, other = user.args[:2]
                tail.other = (cast(Node, other if one is tail.end else one), tail.start)
                tail.end = user
            else:
                break
        return tail

    def _take(self, tail: _Tail, user: Node, *, norms: bool = True) -> bool:
        """Takes a BatchNorm or an activation of the tail's end into the tail, if there is room for it."""
        name = _name(user)
        if name == _NORM and norms and tail.norm is None and not tail.clamped and user.args[0] is tail.end:
            tail.norm = (user, tail.start)
        elif name in (*_RELUS, *_CLAMPS) and not tail.clamped:
            tail.low, tail.high = _bounds(user)
            tail.clamped = True
        else:
            return False
        tail.end = user
        return True

    def _can_add(self, tail: _Tail, user: Node) -> bool:
        if _name(user) not in _ADDS or user.kwargs.get("alpha", 1) != 1 or len(user.args) != 2:
            return False
        one, other = user.args
        added = other if one is tail.end else one
        if not isinstance(added, Node) or one is other or not isinstance(self._values.get(added), View):
            return False
        return bool(added.meta["val"].shape[1:] == user.meta["val"].shape[1:])

    def _is_join_of_rows(self, user: Node) -> bool:
        """Whether a tensor is joined of nothing but convolutions that nothing else reads, and goes on alone."""
        if _name(user) != _CAT or not _along_channels(user) or len(user.users) != 1:
            return False
        parts = cast(Sequence[Node], user.args[0])
        follows = _name(next(iter(user.users))) in (_NORM, *_ADDS)
        return follows and all(_name(part) == _CONV and len(part.users) == 1 for part in parts)

    def _finished(self, op: Op, tail: _Tail) -> Op:
        return replace(op, norm=self._norm(tail.norm) if tail.norm else None, low=tail.low, high=tail.high)

    def _done(self, node: Node, tail: _Tail, value: View | None) -> None:
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
        return Norm(*map(self._weight, (gamma, beta, mean, variance)), cast(float, epsilon), start)

    def _weight(self, node: Any) -> int:
        if node is None:
            return NONE
        if not isinstance(node, Node) or node.name not in self._parameters:
            raise UnknownOperatorError("a weight that is computed")
        return self._program.weight(self._pieces[segment_name(self._parameters[node.name])])

    def _image_of(self, node: Any) -> View:
        value = self._values.get(node)
        if not isinstance(value, View) or value.flat:
            raise UnknownOperatorError("arithmetic with something else than images")
        return value


def _copy(value: Any, to: View) -> Op:
    if not isinstance(value, View) or value.flat or value.channels != to.channels:
        raise UnknownOperatorError("a copy of something else than an image")
    return Op(Code.AFFINE, to, value)


def _name(node: Any) -> str:
    if not isinstance(node, Node) or node.op != "call_function":
        return ""
    name = str(node.target).removeprefix("aten.")
    return "getitem" if "getitem" in name else name


def _is_view(node: Node) -> bool:
    return _name(node) in (*_VIEWS, *_SHAPES, *_SAME)


def _source(node: Node) -> Node:
    """The node whose value this one is, unchanged."""
    while True:
        name = _name(node)
        if name in _SAME:
            node = cast(Node, node.args[0])
        elif name == "getitem" and len(cast(Any, node.args[0]).args[1]) == 1:
            node = cast(Node, cast(Node, node.args[0]).args[0])
        else:
            return node


def _along_channels(node: Node) -> bool:
    parts, *rest = cast(tuple[Any, ...], node.args)
    return rest == [1] and all(isinstance(part, Node) and len(part.meta["val"].shape) == 4 for part in parts)


def _channels(node: Node) -> int:
    return int(node.meta["val"].shape[1])


def _image(spec: TensorSpec) -> tuple[int, int, int]:
    if len(spec.shape) != 3 or spec.dtype != "float32" or spec.name == INPUT:
        raise UnknownOperatorError(f"a state {spec.name!r} of shape {spec.shape} in {spec.dtype}")
    return spec.shape[0], spec.shape[1], spec.shape[2]


def _sides(node: Node) -> tuple[int, ...]:
    sides, mode, value = (*node.args[1:], *("constant", None)[len(node.args) - 2 :])
    if not isinstance(mode, str):
        mode, value = "constant", mode
    if mode != "constant" or value not in (None, 0, 0.0) or min(cast(Any, sides)) < 0:
        raise UnknownOperatorError(f"padding {mode} of {value}")
    return tuple(cast(Any, sides))


def _bounds(node: Node) -> tuple[float, float]:
    if _name(node) in _RELUS:
        return 0.0, inf
    if "relu6" in _name(node):
        return 0.0, 6.0
    given = (*node.args[1:], *((-1.0, 1.0) if "hardtanh" in _name(node) else (None, None))[len(node.args) - 1 :])
    low, high = (given[0], given[1]) if len(given) > 1 else (given[0], None)
    return -inf if low is None else float(cast(Any, low)), inf if high is None else float(cast(Any, high))


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    found = tuple(value)
    if not found or not all(isinstance(each, int) for each in found):
        raise UnknownOperatorError(f"{value!r} in place of two numbers")
    return (found[0], found[0]) if len(found) == 1 else (found[0], found[1])
