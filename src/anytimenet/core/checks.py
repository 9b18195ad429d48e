"""Checks of arguments at the door, all in one file: a wrong value is refused by the name it has there.

A value of another kind than the argument takes raises TypeError, one out of its range ValueError. Every check
returns the value as plain Python knows it, so that numpy's numbers go in and JSON's numbers come out.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from anytimenet.core.errors import suggest

if TYPE_CHECKING:
    import numpy as np

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
    if type(value) is not int and (isinstance(value, bool) or not isinstance(value, Integral)):
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
    try:
        os.fsencode(text)
        possible = bool(text) and "\0" not in text
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise ValueError(f"{name} must be a path, and {shown(value)} is none")
    return Path(text)


def folder(value: object, name: str) -> Path:
    """As `path`, for a folder to write into; it need not be there yet.

    Raises:
        ValueError: if a file is in its place.
    """
    place = path(value, name)
    if place.exists() and not place.is_dir():
        raise ValueError(f"{name} must be a folder, and {place} is a file: choose another")
    return place


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


def increasing(value: object, name: str, most: int) -> tuple[int, ...]:
    """`value` as stages from 1 to `most`, each higher than the one before it; one at least.

    >>> increasing([1, 3], "stages", 3)
    (1, 3)
    """
    found = whole_numbers(value, name, 1, most)
    if not found or list(found) != sorted(set(found)):
        among = "from 1 on" if most == LARGEST else f"from 1 to {most}"
        raise ValueError(
            f"{name} must be an increasing list of stages {among}, for example (1, 2), not {found}"
        )
    return found


def shape_of_images(value: object, name: str = "input_shape") -> tuple[int, int, int]:
    """`value` as (C, H, W), without the batch."""
    found = whole_numbers(value, name, 1, MOST_SIDE)
    if len(found) != 3:
        raise ValueError(f"{name} is (C, H, W) without the batch, not {found}")
    return found[0], found[1], found[2]


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


MOST_CLASSES = 2**24


def class_counts(value: object, name: str = "num_classes") -> tuple[int, ...]:
    """`value` as one number of classes for each label level; a number alone is one level.

    >>> class_counts(10)
    (10,)
    """
    one = isinstance(value, Integral)
    try:
        found = whole_numbers((value,) if one else value, name, 1, MOST_CLASSES)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"{name} must be a number, or one for each label level, not {shown(value)}"
        ) from None
    if not found:
        raise ValueError(f"{name} must be a number, or one for each label level, and is empty")
    return found


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

    >>> import numpy as np
    >>> array(np.zeros((2, 4, 4, 3), np.uint8), "images", "uint8 (N, H, W, C)", (4,), "uint8").shape
    (2, 4, 4, 3)
    """
    import numpy as np  # here, for lists and the like need none

    if not isinstance(value, np.ndarray):
        raise TypeError(f"{name} must be an array {what}, not {shown(value)}")
    if value.ndim not in dimensions or (dtype and value.dtype != dtype):
        raise ValueError(f"{name} must be {what}, got {value.dtype} {value.shape}")
    return value


MOST_WORKERS = 1024
SPLITS = ("train", "val", "test")


def workers(value: object, name: str = "workers") -> int | None:
    """`value` as a number of processes that decode images, or None for one a core."""
    return optional(value, name, whole_number, most=MOST_WORKERS)


def device(value: object, name: str = "device") -> str:
    """`value` as the name of a device that a net runs on: "cpu", "cuda" or "cuda:0", say.

    >>> device("cuda:1")
    'cuda:1'
    """
    text = str(value) if type(value).__module__ == "torch" else words(value, name)
    if not re.fullmatch(r"cpu|cuda(:[0-9]{1,3})?", text):
        raise ValueError(f"{name} must be 'cpu', 'cuda' or 'cuda:0', say, not {shown(value)}")
    return text


def dataset(value: object, name: str, *others: type) -> None:
    """Raises unless `value` is a data set's name, a map-style dataset, or one of the types `others`."""
    if isinstance(value, str):
        words(value, name)
    elif not isinstance(value, others):
        listed = not isinstance(value, Mapping | bytes) and hasattr(type(value), "__getitem__")
        try:
            length = len(value) if listed else -1  # type: ignore[arg-type]
        except TypeError:  # an array of no dimensions
            length = -1
        if length < 0:
            raise TypeError(
                f"{name} must be data by name, DataSplits or a dataset with a length whose items are (image, "
                f"label), not {shown(value)}; turn an iterable into a list"
            )


def function(value: object, name: str, example: str) -> None:
    """Raises TypeError, with an example of what is right, unless `value` can be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, for example {example}, not {shown(value)}")


def json_values(value: object, name: str) -> dict[str, Any]:
    """`value` as a dict of what JSON knows: text, finite numbers, lists and dicts with text as keys."""
    if not isinstance(value, Mapping):
        raise TypeError(
            f"{name} must be a dict of JSON values, for example {{'by': 'me'}}, not {shown(value)}"
        )
    found = dict(value)
    try:
        written = json.dumps(found, allow_nan=False, ensure_ascii=False, default=_plain)
        plain: dict[str, Any] = json.loads(written.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{name} must hold JSON values only ({error})") from None
    return plain


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


def _plain(value: object) -> object:
    """numpy's scalars as Python's, for JSON."""
    import numpy as np

    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{shown(value)} is none")


def _listed(value: object, name: str, what: str) -> tuple[Any, ...]:
    try:
        if not isinstance(value, str | bytes | Mapping) and isinstance(value, Iterable):
            return tuple(value)
    except TypeError:  # an array of no dimensions says that it is iterable
        pass
    raise TypeError(f"{name} must be a {what}, not {shown(value)}")


def _range(least: float, most: float, unbounded: float) -> str:
    return f"at least {least}" if most >= unbounded else f"from {least} to {most}"
