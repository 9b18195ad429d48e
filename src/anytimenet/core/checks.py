"""Checks of arguments at the door: a wrong value is refused where it is given, by the name it has there.

A value of another kind than the argument takes raises TypeError, one out of its range ValueError. Every check
returns the value as plain Python knows it, so that numpy's numbers go in and JSON's numbers come out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

from anytimenet.core.errors import suggest

T = TypeVar("T")
LARGEST = 2**63 - 1
"""Of whole numbers: what a tensor's size, a file's length and a seed can hold."""


def whole_number(value: object, name: str, least: int = 0, most: int = LARGEST) -> int:
    """`value` as an int from `least` to `most`; numpy's integers count, True and 3.0 do not.

    >>> whole_number(3, "stages", least=1)
    3
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, not {shown(value)}")
    number = int(value)
    if not least <= number <= most:
        raise ValueError(f"{name} must be {_range(least, most, LARGEST)}, not {shown(value)}")
    return number


def number(
    value: object,
    name: str,
    least: float = -math.inf,
    most: float = math.inf,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    infinite: bool = False,
) -> float | int:
    """`value` as a finite number within bounds; `above` and `below` are bounds that it must not touch.

    An int stays an int, everything else becomes a float. NaN is never a number; infinity is one where
    `infinite` allows it.

    >>> number(0.5, "warmup", 0, below=1)
    0.5
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {shown(value)}")
    try:
        found = float(value)
    except OverflowError:
        raise ValueError(f"{name} is too large a number: {shown(value)}") from None
    if math.isnan(found) or (math.isinf(found) and not infinite):
        raise ValueError(f"{name} must be a finite number, not {shown(value)}")
    inside = least <= found <= most and (above < found or above == -math.inf)
    if not inside or not (found < below or below == math.inf):
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (("at least", least), ("above", above), ("at most", most), ("below", below))
            if not math.isinf(bound)
        ]
        raise ValueError(f"{name} must be {' and '.join(bounds)}, not {shown(value)}")
    return int(value) if isinstance(value, Integral) else found


def flag(value: object, name: str) -> bool:
    """`value` as a bool; a word such as "no" is not one, for Python would take it for True.

    >>> flag(True, "resume")
    True
    """
    if isinstance(value, bool):
        return value
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise TypeError(f"{name} must be True or False, not {shown(value)}")


def words(value: object, name: str) -> str:
    """`value` as text that is not empty and can be written as UTF-8."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be text, not {shown(value)}")
    if not value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{name} must be non-empty Unicode text, not {shown(value)}")
    return str(value)


def choice(value: object, name: str, known: Collection[str]) -> str:
    """`value`, if it is one of the words `known`; else the nearest of them is named."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(known)}, not {shown(value)}")
    if value not in known:
        raise ValueError(f"{name} {shown(value)} does not exist: {suggest(value, known)}")
    return value


def path(value: object, name: str) -> Path:
    """`value` as a path; a str or anything with `__fspath__` is one."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} must be a path, not {shown(value)}")
    text = os.fspath(value)
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a path in text, not in bytes: {shown(value)}")
    if not text or "\0" in text:
        raise ValueError(f"{name} must be a path, and {shown(value)} is none")
    return Path(text)


def instance(value: T, wanted: type | tuple[type, ...], name: str, example: str) -> T:
    """`value`, if it is of the type `wanted`; else TypeError, with an example of what is right."""
    if not isinstance(value, wanted):
        types = wanted if isinstance(wanted, tuple) else (wanted,)
        kinds = " or ".join(kind.__name__ for kind in types)
        raise TypeError(f"{name} must be {kinds}, for example {example}, not {shown(value)}")
    return value


def several(value: object, name: str) -> tuple[Any, ...]:
    """`value` as a tuple; a word, bytes or a mapping is no list of things."""
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list, not {shown(value)}")
    return tuple(value)


def shown(value: object, most: int = 60) -> str:
    """`value` in an error message: its repr, cut where it is long, with its type where that says more.

    >>> shown("digits")
    "'digits'"
    """
    try:
        text = repr(value)
    except Exception as error:  # a repr of somebody else's, or an int of more digits than Python prints
        text = f"a value that cannot be shown ({type(error).__name__})"
    text = " ".join(text.split())
    if len(text) > most:
        text = text[: most - 3] + "..."
    plain = value is None or (isinstance(value, str | int | float) and type(value).__module__ == "builtins")
    return text if plain else f"{text} ({type(value).__name__})"


def _range(least: float, most: float, unbounded: float) -> str:
    return f"at least {least}" if most >= unbounded else f"from {least} to {most}"
