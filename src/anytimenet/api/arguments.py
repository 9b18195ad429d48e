"""What the functions of the front door take alike, checked before anything is read or run."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from anytimenet.bundle import Bundle
from anytimenet.core import checks
from anytimenet.data import DataSplits, ImageFiles, ImageSet, MaskSet

Split = Literal["train", "val", "test"]


def check_reading(
    bundle: Bundle,
    data: Any,
    *,
    skip_bad: bool,
    data_root: object,
    device: str,
    workers: int | None,
    split: str = "test",
    splits: Collection[str] = ("train", "val", "test"),
) -> None:
    """Raises TypeError or ValueError, with the argument's name, unless a bundle can read data in this way."""
    checks.instance(bundle, Bundle, "bundle", "load(PATH)")
    if data is not None:
        checks.dataset(data, "data", DataSplits, ImageSet, ImageFiles, MaskSet)
    checks.choice(split, "split", splits)
    checks.flag(skip_bad, "skip_bad")
    checks.optional(data_root, "data_root", checks.path)
    checks.device(device)
    checks.workers(workers)
