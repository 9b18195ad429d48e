"""Nets by name: `create_net("isresnext_47", num_classes=10)`, `list_nets("is*")`, `register_net`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import torch

from anytimenet.core.errors import NeedsValuesError, suggest
from anytimenet.core.net_origin import NetOrigin
from anytimenet.nets.contract import AnytimeNet

Builder = Callable[..., AnytimeNet]


@dataclass(frozen=True)
class NetEntry:
    """One registered name.

    Attributes:
        build: called with `num_classes` (a tuple, one entry per label level) and the overrides.
        input_shape: (C, H, W) of the images that its published costs are counted on.
        summary: one line for lists.
        paper: where it comes from.
    """

    name: str
    build: Builder
    input_shape: tuple[int, int, int]
    summary: str
    paper: str


_ENTRIES: dict[str, NetEntry] = {}


def register_net(
    name: str, *, input_shape: tuple[int, int, int], summary: str, paper: str = ""
) -> Callable[[Builder], Builder]:
    """Decorator that makes a builder function available as `create_net(name)`.

    The builder's first argument is `num_classes`, a tuple; its other arguments, all with defaults, are
    the overrides that `create_net` accepts. They must be JSON values (a bundle stores them).

    Raises:
        ValueError: if the name is taken.
    """

    def register(build: Builder) -> Builder:
        if name in _ENTRIES and _ENTRIES[name].build is not build:
            raise ValueError(f"a net named {name!r} is registered already; choose another name")
        _ENTRIES[name] = NetEntry(name, build, input_shape, summary, paper)
        return build

    return register


def create_net(name: str, num_classes: int | tuple[int, ...] = 10, **overrides: Any) -> AnytimeNet:
    """Builds a registered net; the overrides are the arguments of its builder.

    Raises:
        ValueError: for an unknown name or argument (with the nearest known one), or invalid shapes.

    >>> net = create_net("isresnext_tiny", num_classes=10)
    >>> net.num_stages
    3
    """
    entry = net_entry(name)
    known = list(inspect.signature(entry.build).parameters)[1:]
    for argument in overrides:
        if argument not in known:
            raise ValueError(f"{name} has no argument {argument!r}: {suggest(argument, known)}")
    levels = (num_classes,) if isinstance(num_classes, int) else num_classes
    good = isinstance(levels, tuple | list) and levels and all(type(c) is int and c > 0 for c in levels)
    if not good:
        raise ValueError(f"num_classes {num_classes!r}: a number, or one for each label level, is needed")
    levels = tuple(levels)
    net = entry.build(levels, **overrides)
    net.origin = NetOrigin(name, {"num_classes": list(levels), **overrides})
    return net


def rebuild_net(origin: NetOrigin) -> AnytimeNet:
    """The net that `origin` describes, with fresh weights."""
    arguments = dict(origin.arguments)
    net = create_net(origin.name, tuple(arguments.pop("num_classes")), **arguments)
    return net if origin.keep is None else net.keep(origin.keep)


def build_on_meta(build: Callable[[], AnytimeNet]) -> AnytimeNet:
    """What `build` makes, on the meta device; one that needs values runs for real, and they are dropped.

    >>> next(build_on_meta(lambda: create_net("resnet_tiny")).parameters()).is_meta
    True
    """
    try:
        with torch.device("meta"):
            return build()
    except NeedsValuesError:
        with torch.random.fork_rng(devices=[]):
            return build().to("meta")


def net_entry(name: str) -> NetEntry:
    """The registry's entry for `name`.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
    """
    if name not in _ENTRIES:
        raise ValueError(f"no net is named {name!r}: {suggest(name, _ENTRIES)}")
    return _ENTRIES[name]


def list_nets(pattern: str = "*") -> list[str]:
    """Registered names that match a shell pattern, sorted.

    >>> list_nets("isresnext_4*")
    ['isresnext_47']
    """
    return sorted(name for name in _ENTRIES if fnmatch(name, pattern))
