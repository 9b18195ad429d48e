"""What a net was built with: every argument of its constructor, so that a changed twin restates none."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import nn

from anytimenet.layers.snapshots import copy_leading, like
from anytimenet.nets.contract import AnytimeNet

_Net = TypeVar("_Net", bound=nn.Module)
_Init = TypeVar("_Init", bound=Callable[..., None])


def remembered(construct: _Init) -> _Init:
    """Decorator of a net's `__init__`: `net.arguments` holds what it was called with, defaults included.

    The constructor itself is the one place where an argument is named. Lists are held as tuples, so that
    nothing that happens to a list afterwards changes them. Of a class that derives from another, `arguments`
    are those of the constructor that was called; `twin` finds those of each.

    >>> class Scale(nn.Module):
    ...     @remembered
    ...     def __init__(self, factors, *, bias=True):
    ...         super().__init__()
    >>> Scale([2, 3]).arguments
    {'factors': (2, 3), 'bias': True}
    """
    signature = inspect.signature(construct)

    @wraps(construct)
    def init(net: nn.Module, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(net, *args, **kwargs)
        bound.apply_defaults()
        _, *names = bound.arguments
        for name in names:
            if isinstance(bound.arguments[name], Iterator):  # which can be read once
                bound.arguments[name] = tuple(bound.arguments[name])
        held = {name: _held(bound.arguments[name]) for name in names}
        vars(net).setdefault("arguments", held)
        vars(net).setdefault("_arguments_of", {}).setdefault(construct.__qualname__, held)
        construct(*bound.args, **bound.kwargs)

    return cast("_Init", init)


def twin(
    net: AnytimeNet, kind: Callable[..., _Net], rename: Callable[[str], str] = str, **changed: Any
) -> _Net:
    """What `kind` builds from the arguments of `net` and those `changed`, with the weights of `net`.

    `rename` gives the name in `net` for a name in the twin; of a larger tensor it gets the leading rectangle.

    >>> from anytimenet.nets.fixed.resnet import ResNet
    >>> twin(ResNet(width=8, blocks=(1, 1)), ResNet, width=4).arguments["blocks"]
    (1, 1)
    """
    constructor = getattr(getattr(kind, "__init__", None), "__qualname__", "")
    arguments = vars(net).get("_arguments_of", {}).get(constructor, net.arguments)
    built: _Net = like(net, lambda: kind(**{**arguments, **changed}))
    with torch.no_grad():
        copy_leading(net, built, rename)
    return built


def _held(value: Any) -> Any:
    """`value`, a list or a range of any depth as a tuple."""
    return tuple(map(_held, value)) if isinstance(value, list | tuple | range) else value
