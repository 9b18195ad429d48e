"""Checks of single fields of `bundle.json`; each says which field is wrong and what it should be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from anytimenet.core.checks import fraction, raised_as, shown, whole_number, words
from anytimenet.core.errors import BundleError
from anytimenet.core.manifest.folder import AGAIN


def keys(value: Any, where: str, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    """`value`, if it is an object with these keys and, beside `optional`, no others; else BundleError."""
    if not isinstance(value, dict):
        raise BundleError(f"{where} must be a JSON object, not {shown(value)}; {AGAIN}")
    missing, unknown = sorted(set(names) - set(value)), sorted(set(value) - {*names, *optional})
    if missing or unknown:
        raise BundleError(f"{where} has wrong fields (missing: {missing}, unknown: {unknown}); {AGAIN}")
    return value


def json_list(value: Any, where: str) -> list[Any] | tuple[Any, ...]:
    """`value`, if it is a list or a tuple; else BundleError."""
    if not isinstance(value, list | tuple):
        raise BundleError(f"{where} must be a JSON list, not {shown(value)}")
    return value


def json_object(value: Any, where: str) -> dict[str, Any]:
    """An own copy of `value` as JSON knows it; BundleError if it is no object or holds other values.

    Single numbers of numpy become plain ones.

    >>> json_object({"blocks": (1, 2)}, "net.arguments")
    {'blocks': [1, 2]}
    """
    if not isinstance(value, dict):
        raise BundleError(f"{where} must be a JSON object, not {shown(value)}")
    try:
        written = json.dumps(value, allow_nan=False, ensure_ascii=False, default=_plain_number)
        plain: dict[str, Any] = json.loads(written.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{where} must hold JSON values only ({error})") from error
    return plain


def text(value: Any, where: str) -> str:
    """`value`, if it is text that can be written as UTF-8 and is not empty; else BundleError."""
    with raised_as(BundleError, kinds_too=True):
        return words(value, where)


def whole(value: Any, where: str, least: int) -> int:
    """`value`, if it is an integer of at least `least`; else BundleError."""
    with raised_as(BundleError, kinds_too=True):
        return whole_number(value, where, least)


def share(value: Any, where: str) -> float | int:
    """`value`, if it is a number from 0 to 1; else BundleError."""
    with raised_as(BundleError, kinds_too=True):
        return fraction(value, where)


def _plain_number(value: Any) -> Any:
    """A single number or truth of numpy as Python's own."""
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    raise TypeError(f"{shown(value)} is no JSON value")
