"""Operators that say where numbers lie: views, joined channels, padding."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, cast

from torch.fx import Node

from anytimenet.export.native_nodes import (
    CONV,
    SAME,
    SHAPES,
    VIEWS,
    channels_of,
    joins_channels,
    name_of,
    sides_of,
)
from anytimenet.export.native_program import Code, Op, View
from anytimenet.export.native_step import StepWriter, Zeros, copy_of
from anytimenet.export.unknown import UnknownOperatorError


def cat(step: StepWriter, node: Node) -> None:
    if not joins_channels(node):
        raise UnknownOperatorError("cat.default of something else than channels")
    home, start = step.home(node), 0
    for part in cast(Sequence[Node], node.args[0]):
        value = step.values[part]
        here = home.part(start, start + value.channels)
        if isinstance(value, Zeros):
            step.emit(node, Op(Code.ZERO, here))
        elif value != here:
            step.emit(node, copy_of(value, here))
        start += value.channels
    step.values[node] = home


def pad(step: StepWriter, node: Node) -> None:
    sides = sides_of(node)
    if len(sides) != 6 or any(sides[:4]):
        if len(sides) in (4, 6) and all(name_of(user) == CONV for user in node.users) and not any(sides[4:]):
            return  # the convolution does it
        raise UnknownOperatorError("padding that no convolution reads")
    value, home = step.image(cast(Node, node.args[0])), step.home(node)
    before, behind = sides[4], sides[4] + value.channels
    for start, stop in ((0, before), (behind, home.channels)):
        if start < stop:
            step.emit(node, Op(Code.ZERO, home.part(start, stop)))
    if value != home.part(before, behind):
        step.emit(node, copy_of(value, home.part(before, behind)))
    step.values[node] = home


def zeros(step: StepWriter, node: Node) -> None:
    step.values[node] = Zeros(channels_of(node))


def renamed(step: StepWriter, node: Node, name: str) -> Any:
    """Views, and operators that do nothing here."""
    if name in ("dropout.default", "feature_dropout.default") and node.args[2]:
        raise UnknownOperatorError("dropout in training")
    value = step.values.get(cast(Node, node.args[0])) if node.args else None
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
        return _cut(node, name, value)
    raise UnknownOperatorError(name)


def _cut(node: Node, name: str, value: View) -> Any:
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
