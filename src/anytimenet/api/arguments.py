"""What the functions of the front door check alike."""

from __future__ import annotations

from typing import Literal

Split = Literal["train", "val", "test"]


def check_type(value: object, wanted: type, name: str, example: str) -> None:
    """Raises TypeError, with an example of what is right, unless `value` is of the type `wanted`."""
    if not isinstance(value, wanted):
        raise TypeError(
            f"{name} must be {wanted.__name__}, for example {example}, not {type(value).__name__}"
        )


def check_split(split: str) -> None:
    """Raises ValueError unless there is a part of data with that name."""
    if split not in ("train", "val", "test"):
        raise ValueError(f"split {split!r} does not exist: 'train', 'val' or 'test' is needed")
