"""Maps of features whose channels come last: how they are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from torch import fx

from anytimenet.nets.wrapped.marks import MARK

_FIRST_BY = {"conv2d", "convolution", "conv_transpose2d", "batch_norm", "group_norm", "instance_norm"}
_FIRST_BY |= {"max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d", "pixel_unshuffle"}
_LAST_BY = {"layer_norm", "rms_norm", "linear"}
_PASS_ON = {"add", "sub", "mul", "div", "relu", "gelu", "silu", "hardswish", "leaky_relu", "dropout"}
_PASS_ON |= {
    "clone",
    "contiguous",
    "to",
    "alias",
    "detach",
    "cat",
    "sigmoid",
    "roll",
    "pad",
    "constant_pad_nd",
}


def channels_are_last(node: fx.Node) -> bool:
    """Whether a map with four dimensions is `(N, H, W, C)`: what reads it next tells, else what gave it."""
    if len(node.meta["val"].shape) != 4:
        return False
    for step in (lambda at: tuple(at.users), lambda at: tuple(at.all_input_nodes)):
        found = _first_told(node, step)
        if found is not None:
            return found
    return False


def _first_told(start: fx.Node, step: object) -> bool | None:
    waiting, seen = deque([start]), {start}
    forwards = step  # users, or inputs
    while waiting:
        at = waiting.popleft()
        for other in forwards(at):  # type: ignore[operator]
            if other in seen or other.op != "call_function":
                continue
            seen.add(other)
            told = _told(other)
            if told is not None:
                return told
            if other.target is MARK or _named(other) in _PASS_ON:
                waiting.append(other)
    return None


def _told(node: fx.Node) -> bool | None:
    """True where the operator reads channels last, False where first, None where either way is fine."""
    name = _named(node)
    if name in _FIRST_BY:
        return False
    if name in _LAST_BY:
        return True
    if name in ("permute", "mean") and len(node.args) > 1 and isinstance(node.args[1], Iterable):
        axes = [axis % 4 for axis in node.args[1] if isinstance(axis, int)]
        return {
            ("permute", (0, 3, 1, 2)): True,
            ("permute", (0, 2, 3, 1)): False,
            ("mean", (1, 2)): True,
            ("mean", (2, 3)): False,
        }.get((name, tuple(axes) if name == "permute" else tuple(sorted(axes))))
    return None


def _named(node: fx.Node) -> str:
    name = str(getattr(node.target, "overloadpacket", node.target)).removeprefix("aten.")
    return name.removesuffix("_")
