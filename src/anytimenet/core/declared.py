"""Whether a dataclass that was read from a file holds what its fields are declared as."""

from __future__ import annotations

import types
import typing
from dataclasses import fields, is_dataclass
from typing import Any

from anytimenet.core.checks import flag, number, shown, whole_number


def check_declared(value: Any, name: str = "") -> None:
    """Compares every field of a dataclass, and of those in it, with its declared type.

    Known are text, flags, whole numbers from 0 on, finite numbers, dataclasses, tuples of those, and None
    where it is allowed.

    Raises:
        TypeError, ValueError: for a field that holds something else; the message names it.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Stage:
    ...     macs: int
    >>> check_declared(Stage("many"))
    Traceback (most recent call last):
    TypeError: macs must be a whole number, not 'many'
    """
    declared = typing.get_type_hints(type(value))
    for field in fields(value):
        _check(getattr(value, field.name), declared[field.name], f"{name}{field.name}")


def _check(value: Any, wanted: Any, name: str) -> None:
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (types.UnionType, typing.Union):
        if value is not None:
            _check(value, next(kind for kind in inner if kind is not type(None)), name)
    elif origin is tuple:
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        if not isinstance(value, tuple) or len(value) != len(kinds):
            raise TypeError(f"{name} must be a list of {len(kinds)}, not {shown(value)}")
        for place, (entry, kind) in enumerate(zip(value, kinds, strict=True)):
            _check(entry, kind, f"{name}[{place}]")
    elif wanted is bool:
        flag(value, name)
    elif wanted is int:
        whole_number(value, name)
    elif wanted is float:
        number(value, name)
    elif is_dataclass(value) and isinstance(value, wanted):
        check_declared(value, f"{name}.")
    elif not isinstance(value, origin or wanted):
        raise TypeError(f"{name} must be {wanted.__name__}, not {shown(value)}")
