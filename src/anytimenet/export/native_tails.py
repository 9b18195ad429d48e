"""What an operator of the native engine does with its result by itself: BatchNorm, sum and activation."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from math import inf
from typing import cast

from torch.fx import Node

from anytimenet.export.native_nodes import (
    ADDS,
    CLAMPS,
    NORM,
    RELUS,
    bounds_of,
    channels_of,
    joins_rows,
    name_of,
)


@dataclass
class Tail:
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

    def take(self, user: Node, *, norms: bool = True) -> bool:
        """Takes a BatchNorm or an activation that reads the end, if there is room for it."""
        name = name_of(user)
        if name == NORM and norms and self.norm is None and not self.clamped and user.args[0] is self.end:
            self.norm = (user, self.start)
        elif name in (*RELUS, *CLAMPS) and not self.clamped:
            self.low, self.high = bounds_of(user)
            self.clamped = True
        else:
            return False
        self.end = user
        return True

    def join(self, user: Node) -> bool:
        """Goes on as some rows of what is joined of several, if nothing was done yet."""
        if not joins_rows(user) or self.clamped or self.norm is not None or self.other is not None:
            return False
        parts = cast(Sequence[Node], user.args[0])
        self.start += sum(channels_of(part) for part in parts[: parts.index(self.end)])
        self.end = user
        return True

    def add(self, user: Node, is_there: Callable[[Node], bool]) -> bool:
        """Takes the addition of a tensor that is there already."""
        if self.clamped or self.other is not None or name_of(user) not in ADDS:
            return False
        if user.kwargs.get("alpha", 1) != 1 or len(user.args) != 2:
            return False
        one, other = user.args
        added = other if one is self.end else one
        if not isinstance(added, Node) or one is other or not is_there(added):
            return False
        if added.meta["val"].shape[1:] != user.meta["val"].shape[1:]:
            return False
        self.other, self.end = (added, self.start), user
        return True


def tail_of(
    node: Node,
    homes: Container[Node],
    is_there: Callable[[Node], bool],
    *,
    norms: bool = True,
    adds: bool = False,
) -> Tail:
    """All that is done to the result of an operator before anybody else reads it.

    Args:
        node: the operator.
        homes: what must lie in its place in memory, where a tail ends.
        is_there: whether a tensor has been computed.
        norms: whether the operator can do a BatchNorm.
        adds: whether it can add.
    """
    tail = Tail(node)
    while len(tail.end.users) == 1 and tail.end not in homes:
        user = next(iter(tail.end.users))
        taken = tail.take(user, norms=norms and tail.other is None)
        if not (taken or (norms and tail.join(user)) or (adds and tail.add(user, is_there))):
            break
    return tail
