"""Which data a bundle is given, and how it is read: what the functions of the front door take alike."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from anytimenet.bundle import Bundle
from anytimenet.core import checks
from anytimenet.data import DataSplits, ImageFiles, ImageSet, MaskSet
from anytimenet.training import check_device

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, eq=False)
class Reading:
    """A bundle with the data for it, and how they are read and run.

    Args:
        bundle: from `fit` or `load`.
        data: data by name (`anytimenet list data`), folder:PATH or masks:PATH; by default what the bundle was
            trained on. `DataSplits`, a map-style dataset or an `ImageSet` will do, too.
        data_root: where the files of data by name are, instead of $ANYTIMENET_DATA or ./data.
        skip_bad: leave out images that cannot be read, and say how many.
        trust_paths: where no data is named, follow the path that the bundle says its training data is at; one
            from somebody else could name any path.
        device: where the net runs; "auto" takes a CUDA device where there is one.
        workers: processes that decode images which are read from files; None takes the cores of this machine.

    Raises:
        TypeError, ValueError: with the argument's name, before anything is read or run.
    """

    bundle: Bundle
    data: Any = None
    skip_bad: bool = False
    data_root: Path | str | None = None
    device: str = "auto"
    workers: int | None = 0
    trust_paths: bool = False

    def __post_init__(self) -> None:
        checks.instance(self.bundle, Bundle, "bundle", "load(PATH)")
        if self.data is not None:
            checks.dataset(self.data, "data", os.PathLike, DataSplits, ImageSet, ImageFiles, MaskSet)
        checks.settle(self, "skip_bad", checks.flag)
        checks.settle(self, "data_root", checks.optional, checks.path)
        checks.settle(self, "trust_paths", checks.flag)
        if not _is_auto(self.device):
            checks.settle(self, "device", checks.device)
        checks.settle(self, "workers", checks.workers)

    @property
    def root(self) -> Path | None:
        """Where the files of data by name are, if that was said."""
        return None if self.data_root is None else Path(self.data_root)

    @property
    def has_parts(self) -> bool:
        """Whether the data may have a validation part: a map-style dataset is one part."""
        return self.data is None or isinstance(self.data, str | os.PathLike | DataSplits)


def settled_device(device: object) -> str:
    """`device`, and for "auto" the CUDA device where there is one, else the CPU, as `fit` takes it.

    Raises:
        TrainingError: if the machine shows no such device.
        TypeError: if it is no text.
        ValueError: for a device of another kind.
    """
    if _is_auto(device):
        return "cuda" if torch.cuda.is_available() else "cpu"
    name = checks.device(device)
    check_device(name)
    return name


def _is_auto(device: object) -> bool:
    return isinstance(device, str) and device == "auto"
