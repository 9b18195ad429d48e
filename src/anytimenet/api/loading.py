"""Saved bundles."""

from __future__ import annotations

from pathlib import Path

from anytimenet.bundle import Bundle


def load(path: Path | str, stages: int | None = None) -> Bundle:
    """A saved bundle; with `stages=k` its first k stages only, and no more of its files is read.

    Raises:
        BundleError: if it is missing, damaged, tampered with, or of another format.
    """
    return Bundle.load(path, stages=stages)
