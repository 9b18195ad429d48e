"""Convolutions that are better written together, or apart, than as a family computes them.

A sliced net computes the rows of a triangular layer one by one, each from a longer prefix of the channels. An
engine copies each prefix; one dense convolution whose weight has zeros above the diagonal takes less time.
Where the channels are a finished part and a new one, joining them would copy the finished part: the sum of
two convolutions, of which the engine fuses the addition, does without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch.fx import Node

_CONV, _CAT, _SLICE = "aten.conv2d.default", "aten.cat.default", "aten.slice.Tensor"
_CASTS = ("aten.to.dtype", "aten._to_copy.default")
_NO_END = 2**62
_DEFAULTS: tuple[Any, ...] = (None, [1, 1], [0, 0], [1, 1], 1)


@dataclass(frozen=True)
class Rows:
    """Convolutions of prefixes of one tensor, whose outputs are joined: rows of one convolution.

    Attributes:
        of: the tensor.
        convs: the convolutions, in the order of their outputs.
        widths: channels of the prefix that each reads.
    """

    of: Node
    convs: tuple[Node, ...]
    widths: tuple[int, ...]


def rows_of(joined: Node) -> Rows | None:
    """What is joined, if it is rows of one convolution and nothing else reads them."""
    if str(joined.target) != _CAT or not _along_channels(joined):
        return None
    convs = tuple(cast(Sequence[Node], joined.args[0]))
    if len(convs) < 2 or not all(_is_row(conv) for conv in convs):
        return None
    prefixes = [prefix_of(conv.args[0]) for conv in convs]
    if len({of for of, _ in prefixes}) > 1 or len({str(settings_of(conv)) for conv in convs}) > 1:
        return None
    return Rows(prefixes[0][0], convs, tuple(width for _, width in prefixes))


def settings_of(conv: Node) -> list[Any]:
    """Bias, stride, padding, dilation and groups of a convolution."""
    given = list(conv.args[2:])
    return [*given, *_DEFAULTS[len(given) :]]


def prefix_of(read: Any) -> tuple[Node, int]:
    """The tensor of whose channels `read` is the beginning, and how many they are."""
    width = read.meta["val"].shape[1]
    while str(read.target) == _SLICE and len(read.args) < 5 and _is_beginning(read):
        read = read.args[0]
    return read, width


def pieces_of(tensor: Node, width: int, inputs: Sequence[str]) -> list[tuple[Node, int]] | None:
    """The first `width` channels of a tensor that begins with an input, as (tensor, channels of it)."""
    if str(tensor.target) != _CAT or not _along_channels(tensor):
        return None
    parts = list(cast(Sequence[Node], tensor.args[0]))
    first = parts[0]
    while str(first.target) in _CASTS:  # of a state that is kept in another number format
        first = cast(Node, first.args[0])
    if first.op != "placeholder" or first.name not in inputs:
        return None
    found = []
    for part in parts:
        taken = min(width, part.meta["val"].shape[1])
        if taken:
            found.append((part, taken))
        width -= taken
    return found if len(found) > 1 else None


def _is_beginning(cut: Node) -> bool:
    """Whether a slice takes all of the batch, or the first channels of all examples."""
    given: tuple[Any, ...] = (*cut.args[1:], *(0, None, None)[len(cut.args) - 1 :])
    dim, start, end = given
    return start in (None, 0) and (dim == 1 or (dim == 0 and (end is None or end >= _NO_END)))


def _is_row(conv: Any) -> bool:
    if not isinstance(conv, Node) or str(conv.target) != _CONV or len(conv.users) != 1:
        return False
    bias, *_, groups = settings_of(conv)
    weight = conv.args[1]
    return bias is None and groups == 1 and isinstance(weight, Node) and weight.op == "placeholder"


def _along_channels(joined: Node) -> bool:
    parts, *given = cast(tuple[Any, ...], joined.args)
    return given == [1] and all(isinstance(part, Node) for part in parts)
