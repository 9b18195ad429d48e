"""Marks in a captured graph: what each sub-module was called with, and what it returned."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

_LIBRARY = torch.library.Library("anytimenet", "FRAGMENT")
_LIBRARY.define("mark(Tensor x, str place) -> Tensor")
_LIBRARY.impl("mark", lambda x, place: x.clone(), "CompositeExplicitAutograd")

MARK = torch.ops.anytimenet.mark.default
"""The tensor as it is, with a note where it went in or came out; it exists in captured graphs only."""

_PLAIN = (bool, int, float, str, bytes, torch.dtype, torch.device, torch.layout, torch.memory_format)


@dataclass(frozen=True)
class Slot:
    """The place of a tensor among the arguments of a call."""

    number: int


@dataclass
class Call:
    """One call of a sub-module, as its forward saw it.

    Attributes:
        number: of the call, in the order in which calls began.
        path: name of the sub-module.
        parent: the number of the call around it; None directly inside the whole module.
        args, kwargs: what it was called with, a `Slot` for each tensor.
        single: whether it returned one tensor, and not a structure of them.
        reason: why it cannot be called again from outside; None if it can.
    """

    number: int
    path: str
    parent: int | None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    single: bool = True
    reason: str | None = None


@contextmanager
def marking(module: nn.Module, watched: Collection[str]) -> Iterator[list[Call]]:
    """Inside, what `watched` sub-modules read and return is marked; yields their calls, as they begin."""
    calls: list[Call] = []
    running: list[Call] = []
    handles = []
    for path, part in module.named_modules():
        if path in watched and not isinstance(part, torch.jit.ScriptModule):
            before, after = _hooks(path, calls, running)
            handles.append(part.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(part.register_forward_hook(after, with_kwargs=True))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _hooks(path: str, calls: list[Call], running: list[Call]) -> tuple[Any, Any]:
    def before(part: nn.Module, args: Any, kwargs: Any) -> Any:
        call = Call(len(calls), path, running[-1].number if running else None)
        calls.append(call)
        running.append(call)
        leaves, form = pytree.tree_flatten((args, kwargs))
        slots = [Slot(number) if isinstance(leaf, Tensor) else leaf for number, leaf in enumerate(leaves)]
        call.args, call.kwargs = pytree.tree_unflatten(slots, form)
        call.reason = next((_why_not(leaf) for leaf in slots if not _is_plain(leaf)), None)
        return pytree.tree_unflatten(_marked(leaves, f"{call.number}.in"), form)

    def after(part: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        call = running.pop()
        leaves, form = pytree.tree_flatten(result)
        call.single = isinstance(result, Tensor)
        if not any(isinstance(leaf, Tensor) for leaf in leaves):
            call.reason = call.reason or f"it returns {type(result).__name__}, no tensors"
        return pytree.tree_unflatten(_marked(leaves, f"{call.number}.out"), form)

    return before, after


def _marked(leaves: list[Any], place: str) -> list[Any]:
    return [
        MARK(leaf, f"{place}.{number}") if isinstance(leaf, Tensor) else leaf
        for number, leaf in enumerate(leaves)
    ]


def _is_plain(leaf: Any) -> bool:
    return leaf is None or isinstance(leaf, (Slot, *_PLAIN))


def _why_not(leaf: Any) -> str:
    if isinstance(leaf, torch.SymInt):
        return "it is called with a number that depends on the size of the batch"
    return f"it is called with {type(leaf).__name__}, which is neither tensors nor plain values"


_PASSED_ON = (
    "dropout",
    "view",
    "reshape",
    "flatten",
    "squeeze",
    "unsqueeze",
    "permute",
    "transpose",
    "alias",
)


def is_overwritten(value: fx.Node) -> bool:
    """Whether an operator writes into a value, right away or behind marks and operators that pass it on."""
    waiting = [value]
    while waiting:
        at = waiting.pop()
        for user in at.users:
            name = str(getattr(user.target, "overloadpacket", "")).removeprefix("aten.")
            if user.target is MARK or name in _PASSED_ON:
                waiting.append(user)
            elif name.endswith("_") and user.args[0] is at:
                return True
    return False
