"""What the functions of the front door take alike, checked before anything is read or run."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any, Literal

import torch

from anytimenet.bundle import Bundle
from anytimenet.core import checks
from anytimenet.data import DataSplits, ImageFiles, ImageSet, MaskSet
from anytimenet.training import check_device

Split = Literal["train", "val", "test"]


def check_reading(
    bundle: Bundle,
    data: Any,
    *,
    skip_bad: bool,
    data_root: object,
    device: str,
    workers: int | None,
    trust_paths: bool = False,
    split: str = "test",
    splits: Collection[str] = ("train", "val", "test"),
) -> None:
    """Raises TypeError or ValueError, with the argument's name, unless a bundle can read data in this way."""
    checks.instance(bundle, Bundle, "bundle", "load(PATH)")
    if data is not None:
        checks.dataset(data, "data", os.PathLike, DataSplits, ImageSet, ImageFiles, MaskSet)
    checks.choice(split, "split", splits)
    checks.flag(skip_bad, "skip_bad")
    checks.optional(data_root, "data_root", checks.path)
    checks.flag(trust_paths, "trust_paths")
    if not _is_auto(device):
        checks.device(device)
    checks.workers(workers)


def settled_device(device: object) -> str:
    """`device`, and for "auto" the CUDA device where there is one, else the CPU, as `fit` takes it.

    Raises:
        TrainingError: if the machine shows no such device.
        TypeError: if it is no text.
        ValueError: for a device of another kind.
    """
    if _is_auto(device):
        return "cuda" if torch.cuda.is_available() else "cpu"
    found = checks.device(device)
    check_device(found)
    return found


def _is_auto(device: object) -> bool:
    return isinstance(device, str) and device == "auto"
