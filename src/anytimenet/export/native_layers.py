"""Layers as operators of the native engine: what computes."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any, cast

from torch.fx import Node

from anytimenet.export.merging import settings_of
from anytimenet.export.native_nodes import PAD, channels_of, name_of, pair, sides_of
from anytimenet.export.native_program import COUNT_BORDER, Code, Op, View, Window
from anytimenet.export.native_step import StepWriter
from anytimenet.export.native_tails import Tail
from anytimenet.export.unknown import UnknownOperatorError


def conv(step: StepWriter, node: Node) -> None:
    bias, stride, padding, dilation, groups = settings_of(node)
    if isinstance(padding, str) or tuple(pair(dilation)) != (1, 1):
        raise UnknownOperatorError("a convolution that is dilated, or padded by a word")
    read = cast(Node, node.args[0])
    sides: tuple[int, ...] = (0, 0, 0, 0)
    if name_of(read) == PAD and read not in step.values:
        sides, read = sides_of(read), cast(Node, read.args[0])
    value = step.image(read)
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
    tail = step.tail(node, adds=alone)
    home = step.home(tail.end)
    out = home.part(tail.start, tail.start + channels_of(node))
    other = None
    if tail.other is not None:
        added, start = tail.other
        other = step.image(added).part(start, start + out.channels)
    macs = prod(cast(Any, node.args[1]).meta["val"].shape) * out.height * out.width
    op = Op(
        Code.CONV,
        out,
        value,
        other,
        window,
        groups,
        step.weight(node.args[1]),
        step.weight(bias),
        macs=macs,
    )
    step.emit(node, step.finished(op, tail))
    step.done(node, tail, home)


def linear(step: StepWriter, node: Node) -> None:
    read = step.values[cast(Node, node.args[0])]
    whole = isinstance(read, View) and read == step.program.view(read.tensor) and read.flat
    if not whole or len(node.meta["val"].shape) != 2:
        raise UnknownOperatorError("linear.default of something else than pooled features")
    tail = step.tail(node, norms=False)
    bias = node.args[2] if len(node.args) > 2 else None
    op = Op(
        Code.LINEAR,
        step.home(tail.end),
        read,
        weight=step.weight(node.args[1]),
        bias=step.weight(bias),
    )
    op.macs = op.out.channels * read.channels
    step.emit(node, step.finished(op, tail))
    step.done(node, tail, step.home(tail.end))


def mean(step: StepWriter, node: Node) -> None:
    over = [axis % 4 for axis in cast(Any, node.args[1])] if name_of(node) == "mean.dim" else [2, 3]
    size = pair(node.args[1]) if name_of(node) != "mean.dim" else (1, 1)
    read = cast(Node, node.args[0])
    if len(read.meta["val"].shape) != 4 or sorted(over) != [2, 3] or size != (1, 1) or node.kwargs:
        raise UnknownOperatorError("pooling of something else than all pixels of an image")
    tail = step.pooling.get(read) or Tail(read)
    op = Op(Code.MEAN, step.home(node), step.image(tail.end))
    step.emit(node, step.finished(op, tail))
    step.values[node] = step.home(node)


def affine(step: StepWriter, node: Node) -> None:
    read = cast(Node, node.args[0])
    tail = Tail(read)
    if not tail.take(node):
        raise UnknownOperatorError(name_of(node))
    while len(tail.end.users) == 1 and tail.take(next(iter(tail.end.users))):
        pass
    end = tail.end
    if not step.has_home(end) and len(end.users) == 1 and name_of(next(iter(end.users))) == "mean.dim":
        step.done(node, tail, None)
        step.pooling[end] = replace(tail, end=read)  # the pooling does it
        return
    op = step.finished(Op(Code.AFFINE, step.home(end), step.image(read)), tail)
    step.emit(node, op)
    step.done(node, tail, step.home(end))


def add(step: StepWriter, node: Node) -> None:
    one, other = node.args[:2]
    if node.kwargs.get("alpha", 1) != 1 or not isinstance(other, Node):
        raise UnknownOperatorError(f"{name_of(node)} with a number")
    views = step.image(one), step.image(other)
    if {view.channels for view in views} != {channels_of(node)}:
        raise UnknownOperatorError(f"{name_of(node)} of tensors that do not have one shape")
    tail = step.tail(node, norms=False)
    op = Op(Code.ADD, step.home(tail.end).part(tail.start, tail.start + channels_of(node)), *views)
    step.emit(node, step.finished(op, tail))
    step.done(node, tail, step.home(tail.end))


def pool(step: StepWriter, node: Node) -> None:
    largest = name_of(node) == "max_pool2d.default"
    rest = list(node.args[1:])
    defaults: tuple[Any, ...] = ([], [0, 0], [1, 1], False) if largest else ([], [0, 0], False, True, None)
    settings: list[Any] = [*rest, *defaults[len(rest) - 1 :]]
    kernel, stride, padding, *more = settings
    if (largest and pair(more[0]) != (1, 1)) or (not largest and more[2] is not None):
        raise UnknownOperatorError(f"{name_of(node)} that is dilated, or with a divisor")
    down, across = pair(padding)
    window = Window(*pair(kernel), *pair(stride or kernel), down, across, down, across)
    code = Code.LARGEST_POOL if largest else Code.AVERAGE_POOL
    op = Op(code, step.home(node), step.image(cast(Node, node.args[0])), window=window)
    if not largest and more[1]:
        op.flags |= COUNT_BORDER
    step.emit(node, op)
    step.values[node] = step.home(node)
