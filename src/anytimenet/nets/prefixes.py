"""Nets of other packages by name: `timm:resnet50` is the prefix of a package, and what that calls its net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anytimenet.core.errors import suggest
from anytimenet.core.images.pretraining import Pretraining

MARK = ":"


@dataclass(frozen=True)
class Prefix:
    """What names with one prefix stand for.

    Attributes:
        name: the prefix, without the colon.
        package: the package that the nets are of, by the name that it is installed by.
        build: called with what stands behind the colon, `num_classes` (a tuple) and overrides with defaults.
        input_shape: from what stands behind the colon to (C, H, W) of the images that the net was made for.
        names: all that may stand behind the colon; None if that is a place, such as a folder.
        summary: one line for lists.
        pretraining: from what stands behind the colon to how images look to its trained weights, which its
            builder loads where it is told `pretrained`; None if nothing says that.
        backbone: from what stands behind the colon, and `input_size`, to the net without exits.
    """

    name: str
    package: str
    build: Callable[..., Any]
    input_shape: Callable[[str], tuple[int, int, int]]
    names: Callable[[], list[str]] | None
    summary: str
    pretraining: Callable[[str], Pretraining | None] | None = None
    backbone: Callable[..., Any] | None = None


_PREFIXES: dict[str, Prefix] = {}


def register_prefix(prefix: Prefix) -> None:
    """Makes names with that prefix known to `create_net`. Raises ValueError if it is taken."""
    if prefix.name in _PREFIXES:
        raise ValueError(f"nets named {prefix.name}:... are registered already; choose another prefix")
    _PREFIXES[prefix.name] = prefix


def prefixes() -> list[Prefix]:
    """Every prefix, sorted by name."""
    return [_PREFIXES[name] for name in sorted(_PREFIXES)]


def has_prefix(name: str) -> bool:
    """Whether a name is one with a prefix, known or not.

    >>> has_prefix("timm:resnet50"), has_prefix("isresnext_47")
    (True, False)
    """
    return MARK in name


def split_name(name: str) -> tuple[Prefix, str]:
    """The prefix of a name, and what stands behind the colon.

    Raises:
        ValueError: for a prefix that is not known, or nothing behind the colon.
    """
    prefix, _, inner = name.partition(MARK)
    if prefix not in _PREFIXES:
        raise ValueError(f"no nets have the prefix {prefix!r} of {name!r}: {suggest(prefix, _PREFIXES)}")
    if not inner:
        raise ValueError(f"{name!r} names no net: say which behind the colon")
    return _PREFIXES[prefix], inner
