"""Arguments of ATen operators as attributes of ONNX nodes."""

from __future__ import annotations

from typing import Any

from anytimenet.export.unknown import UnknownOperatorError


def pair(value: Any) -> tuple[int, int]:
    """One or two numbers as two."""
    if isinstance(value, int):
        return value, value
    found = tuple(value)
    if not all(isinstance(each, int) for each in found):
        raise UnknownOperatorError(f"{value!r} in place of two numbers")
    return (found[0], found[0]) if len(found) == 1 else (found[0], found[1])


def unless(value: Any, default: Any) -> Any:
    """What need not be said is left out: a net has hundreds of such nodes."""
    return None if value == default else value
