"""Nodes of a traced step, as the native lowering reads them."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any, cast

from torch.fx import Node

from anytimenet.core.segments import INPUT, TensorSpec
from anytimenet.export.unknown import UnknownOperatorError

CONV, NORM, CAT, PAD = "conv2d.default", "batch_norm.default", "cat.default", "pad.default"
ADDS = ("add.Tensor", "add_.Tensor")
RELUS = ("relu.default", "relu_.default")
CLAMPS = (
    "relu6.default",
    "relu6_.default",
    "hardtanh.default",
    "hardtanh_.default",
    "clamp.default",
    "clamp_.default",
)
SAME = (
    "clone.default",
    "contiguous.default",
    "detach.default",
    "alias.default",
    "dropout.default",
    "feature_dropout.default",
    "to.dtype",
)
VIEWS = ("slice.Tensor", "narrow.default", "split_with_sizes.default", "split.sizes", "getitem")
SHAPES = ("flatten.using_ints", "view.default", "reshape.default", "squeeze.dims", "squeeze.dim")
MEANS = ("mean.dim", "adaptive_avg_pool2d.default")
ASSERTION = "_assert_tensor_metadata.default"


def name_of(node: Any) -> str:
    """The name of its operator without "aten."; nothing for what is no call."""
    if not isinstance(node, Node) or node.op != "call_function":
        return ""
    name = str(node.target).removeprefix("aten.")
    return "getitem" if "getitem" in name else name


def is_view(node: Node) -> bool:
    """Whether it is a part of another tensor, or that tensor itself."""
    return name_of(node) in (*VIEWS, *SHAPES, *SAME)


def source_of(node: Node) -> Node:
    """The node whose value this one is, unchanged."""
    while True:
        name = name_of(node)
        if name in SAME:
            node = cast(Node, node.args[0])
        elif name == "getitem" and len(cast(Any, node.args[0]).args[1]) == 1:
            node = cast(Node, cast(Node, node.args[0]).args[0])
        else:
            return node


def joins_channels(node: Node) -> bool:
    """Whether a cat joins channels of images."""
    parts, *rest = cast(tuple[Any, ...], node.args)
    return rest == [1] and all(isinstance(part, Node) and len(part.meta["val"].shape) == 4 for part in parts)


def channels_of(node: Node) -> int:
    """Channels of its value."""
    return int(node.meta["val"].shape[1])


def image_shape(spec: TensorSpec) -> tuple[int, int, int]:
    """(C, H, W) of a tensor of the state, which must be an image in float32."""
    if len(spec.shape) != 3 or spec.dtype != "float32" or spec.name == INPUT:
        raise UnknownOperatorError(f"a state {spec.name!r} of shape {spec.shape} in {spec.dtype}")
    return spec.shape[0], spec.shape[1], spec.shape[2]


def sides_of(node: Node) -> tuple[int, ...]:
    """What a padding adds before and behind, last dimension first; zeros alone are known."""
    given: tuple[Any, ...] = (*node.args[1:], *("constant", None)[len(node.args) - 2 :])
    sides, mode, value = given
    if not isinstance(mode, str):
        mode, value = "constant", mode
    if mode != "constant" or value not in (None, 0, 0.0) or min(sides) < 0:
        raise UnknownOperatorError(f"padding {mode} of {value}")
    return tuple(sides)


def bounds_of(node: Node) -> tuple[float, float]:
    """The least and the largest number that an activation lets through."""
    if name_of(node) in RELUS:
        return 0.0, inf
    if "relu6" in name_of(node):
        return 0.0, 6.0
    given = (
        *node.args[1:],
        *((-1.0, 1.0) if "hardtanh" in name_of(node) else (None, None))[len(node.args) - 1 :],
    )
    low, high = (given[0], given[1]) if len(given) > 1 else (given[0], None)
    return -inf if low is None else float(cast(Any, low)), inf if high is None else float(cast(Any, high))


def pair(value: Any) -> tuple[int, int]:
    """One or two numbers as two."""
    if isinstance(value, int):
        return value, value
    found = tuple(value)
    if not found or not all(isinstance(each, int) for each in found):
        raise UnknownOperatorError(f"{value!r} in place of two numbers")
    return (found[0], found[0]) if len(found) == 1 else (found[0], found[1])


def joins_rows(user: Node) -> bool:
    """Whether a tensor is joined of nothing but convolutions that nothing else reads, and goes on alone."""
    if name_of(user) != CAT or not joins_channels(user) or len(user.users) != 1:
        return False
    parts = cast(Sequence[Node], user.args[0])
    follows = name_of(next(iter(user.users))) in (NORM, *ADDS)
    return follows and all(name_of(part) == CONV and len(part.users) == 1 for part in parts)


def pooled_by_heads(nodes: Sequence[Node]) -> list[Node]:
    """What the pooling of the heads reads, before a BatchNorm and an activation of its own."""
    found = []
    for node in nodes:
        if name_of(node) in MEANS:
            read = cast(Node, node.args[0])
            while name_of(read) in (*RELUS, *CLAMPS, NORM, *SAME) and len(read.users) == 1:
                read = cast(Node, read.args[0])
            found.append(read)
    return found


def with_ancestors(nodes: Sequence[Node]) -> set[Node]:
    """The nodes, and all that they are computed from."""
    found: set[Node] = set()
    left = list(nodes)
    while left:
        node = left.pop()
        if node not in found:
            found.add(node)
            left += node.all_input_nodes
    return found
