"""Checks of the fields that members of the hooks share; each error is one line that says what would work."""

from __future__ import annotations

from collections.abc import Sequence


def check_whole(what: str, value: object, least: int) -> None:
    """Raises ValueError unless `value` is a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{what} {value!r}: a whole number is needed, {least} or more")


def check_choice(what: str, value: object, allowed: Sequence[str]) -> None:
    """Raises ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{what} {value!r} does not exist: take one of {', '.join(allowed)}")
