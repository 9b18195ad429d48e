"""Saved bundles."""

from __future__ import annotations

from pathlib import Path

from anytimenet.bundle import Bundle
from anytimenet.nets.contract import AnytimeNet


def load(path: Path | str, stages: int | None = None, *, net: AnytimeNet | None = None) -> Bundle:
    """A saved bundle; with `stages=k` its first k stages only, and no more of its files is read.

    Args:
        path: the bundle's folder, or a run's folder.
        stages: how many stages to load; all by default.
        net: for a bundle of a net that was built by hand, one that is built as that one was. It stays as it
            is: the bundle gets a copy with the saved weights.

    Raises:
        BundleError: if it is missing, damaged, tampered with, or of another format; or if its net was built
            by hand and `net` is missing or is another one.
        ValueError: if there is no such stage, or the net needs no `net`.
    """
    return Bundle.load(path, stages=stages, net=net)
