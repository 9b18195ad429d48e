"""Checks of arguments at the door: a wrong value is refused where it is given, by the name it has there.

A value of another kind than the argument takes raises TypeError, one out of its range ValueError. Every check
returns the value as plain Python knows it, so that numpy's numbers go in and JSON's numbers come out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from anytimenet.core.errors import suggest

T = TypeVar("T")
LARGEST = 2**63 - 1
"""Of whole numbers: what a tensor's size, a file's length and a seed can hold."""

MOST_SIDE = 2**16
"""Of images, in pixels: more than any format of the images that we read holds."""


def whole_number(value: object, name: str, least: int = 0, most: int = LARGEST) -> int:
    """`value` as an int from `least` to `most`; numpy's integers count, True and 3.0 do not.

    >>> whole_number(3, "stages", least=1)
    3
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be a whole number, not {shown(value)}")
    number = int(value)
    if number > most == LARGEST:
        raise ValueError(f"{name} is too large a number: {shown(value)}")
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


def fraction(value: object, name: str) -> float | int:
    """`value` as a number from 0 to 1.

    >>> fraction(0.9, "target_accuracy")
    0.9
    """
    try:
        return number(value, name, 0, 1)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} must be a fraction from 0 to 1, not {shown(value)}") from None


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
    return str(value)


def one_of(value: object, name: str, known: Collection[int]) -> int:
    """`value`, if it is one of the whole numbers `known`.

    >>> one_of(3, "channels", (1, 3))
    3
    """
    found = whole_number(value, name)
    if found not in known:
        raise ValueError(f"{name} must be {' or '.join(map(str, known))}, not {found}")
    return found


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
    return _listed(value, name, "list")


def numbers(value: object, name: str, *bounds: float, **more: Any) -> tuple[float | int, ...]:
    """`value` as a tuple of numbers, each within the bounds that `number` knows.

    >>> numbers([0.5, 1], "shares", 0, 1)
    (0.5, 1)
    """
    return tuple(number(item, name, *bounds, **more) for item in _listed(value, name, "list of numbers"))


def fractions(value: object, name: str) -> tuple[float | int, ...]:
    """`value` as a tuple of numbers from 0 to 1."""
    return tuple(fraction(item, name) for item in _listed(value, name, "list of fractions"))


def whole_numbers(value: object, name: str, least: int = 0, most: int = LARGEST) -> tuple[int, ...]:
    """`value` as a tuple of whole numbers, each from `least` to `most`.

    >>> whole_numbers([1, 2], "stages", least=1)
    (1, 2)
    """
    listed = _listed(value, name, "list of whole numbers")
    return tuple(whole_number(item, name, least, most) for item in listed)


def texts(value: object, name: str) -> tuple[str, ...]:
    """`value` as a tuple of texts, which may be empty or names of files that are no Unicode."""
    found = _listed(value, name, "list of texts")
    for item in found:
        if not isinstance(item, str):
            raise TypeError(f"{name} must be a list of texts, not of {shown(item)}")
    return found


def all_words(value: object, name: str) -> tuple[str, ...]:
    """`value` as a tuple of texts that `words` takes.

    >>> all_words(["cat", "dog"], "class_names")
    ('cat', 'dog')
    """
    return tuple(words(item, name) for item in _listed(value, name, "list of names"))


def optional(value: object, name: str, check: Callable[..., T], *bounds: Any, **more: Any) -> T | None:
    """None, or what `check` makes of another value.

    >>> optional(None, "limit", whole_number, 1) is None
    True
    """
    return None if value is None else check(value, name, *bounds, **more)


def settle(owner: object, field: str, check: Callable[..., Any], *bounds: Any, **more: Any) -> None:
    """Puts what `check` makes of a field in its place, in the `__post_init__` of a frozen dataclass."""
    object.__setattr__(owner, field, check(getattr(owner, field), field, *bounds, **more))


@contextmanager
def raised_as(kind: type[ValueError], *, kinds_too: bool = False) -> Iterator[None]:
    """Inside, a plain ValueError is raised as the project's `kind` of it.

    A TypeError stays what it is, unless `kinds_too`: of a value in a file, a wrong kind is as much the file's
    fault as a wrong range.

    >>> from anytimenet.core.errors import DataError
    >>> with raised_as(DataError):
    ...     whole_number(0, "limit", least=1)
    Traceback (most recent call last):
    anytimenet.core.errors.DataError: limit must be at least 1, not 0
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        if type(error) is not ValueError and not (kinds_too and type(error) is TypeError):
            raise
        raise kind(str(error)) from None


def array(value: object, name: str, what: str, dimensions: tuple[int, ...], dtype: str = "") -> np.ndarray:
    """`value` as it is, if it is a numpy array of so many dimensions, and of `dtype` where that is said.

    >>> array(np.zeros((2, 4, 4, 3), np.uint8), "images", "uint8 (N, H, W, C)", (4,), "uint8").shape
    (2, 4, 4, 3)
    """
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be an array {what}, not {shown(value)}")
    if value.ndim not in dimensions or (dtype and value.dtype != dtype):
        raise ValueError(f"{name} must be {what}, got {value.dtype} {value.shape}")
    return value


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


def _listed(value: object, name: str, what: str) -> tuple[Any, ...]:
    try:
        if not isinstance(value, str | bytes | Mapping) and isinstance(value, Iterable):
            return tuple(value)
    except TypeError:  # an array of no dimensions says that it is iterable
        pass
    raise TypeError(f"{name} must be a {what}, not {shown(value)}")


def _range(least: float, most: float, unbounded: float) -> str:
    return f"at least {least}" if most >= unbounded else f"from {least} to {most}"
