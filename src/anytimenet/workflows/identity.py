"""Anything that was chosen as JSON values: for a bundle's provenance, and to tell one run from another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def described(value: Any) -> Any:
    """JSON values of `value`: a dataclass by its class and fields, another object by the name of its class.

    The same choice has the same description in every process: nothing of it is an address.

    >>> from anytimenet.tasks import Segmentation
    >>> told = described(Segmentation((2,), class_weights=(1, 3)))
    >>> told["class"], told["class_weights"], told["augmentation"]
    ('Segmentation', [1.0, 3.0], None)
    >>> described(object())
    'object'
    """
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON knows no such number
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): described(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: described(getattr(value, field.name)) for field in fields(value)}
        return {"class": type(value).__name__, **parts}
    return getattr(value, "__qualname__", type(value).__name__)
