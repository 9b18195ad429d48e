"""Checks of single fields of `bundle.json`; each says which field is wrong and what it should be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from anytimenet.core.bundle_folder import AGAIN
from anytimenet.core.errors import BundleError


def keys(value: Any, where: str, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    """`value`, if it is an object with these keys and, beside `optional`, no others; else BundleError."""
    if not isinstance(value, dict):
        raise BundleError(f"{where} must be a JSON object, not {value!r}; {AGAIN}")
    missing, unknown = sorted(set(names) - set(value)), sorted(set(value) - {*names, *optional})
    if missing or unknown:
        raise BundleError(f"{where} has wrong fields (missing: {missing}, unknown: {unknown}); {AGAIN}")
    return value


def json_list(value: Any, where: str) -> list[Any] | tuple[Any, ...]:
    """`value`, if it is a list or a tuple; else BundleError."""
    if not isinstance(value, list | tuple):
        raise BundleError(f"{where} must be a JSON list, not {value!r}")
    return value


def json_object(value: Any, where: str) -> dict[str, Any]:
    """An own copy of `value` as JSON knows it; BundleError if it is no object or holds other values.

    >>> json_object({"blocks": (1, 2)}, "net.arguments")
    {'blocks': [1, 2]}
    """
    if not isinstance(value, dict):
        raise BundleError(f"{where} must be a JSON object, not {value!r}")
    try:
        return json.loads(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(f"{where} must hold JSON values only ({error})") from error


def text(value: Any, where: str) -> str:
    """`value`, if it is text that can be written as UTF-8 and is not empty; else BundleError."""
    if not isinstance(value, str) or not value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BundleError(f"{where} must be non-empty Unicode text, not {value!r}")
    return value


def whole(value: Any, where: str, least: int) -> int:
    """`value`, if it is an integer of at least `least`; else BundleError."""
    if type(value) is not int or value < least:
        raise BundleError(f"{where} must be a whole number, at least {least}, not {value!r}")
    return value


def is_number(value: Any) -> bool:
    """Whether `value` is an integer or a float, and not True or False."""
    return isinstance(value, int | float) and not isinstance(value, bool)
