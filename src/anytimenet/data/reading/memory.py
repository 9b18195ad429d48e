"""Whether decoded images fit into the memory of this machine."""

from __future__ import annotations

import os
from pathlib import Path

SHARE = 0.5
"""Of the memory: the most that decoded images may take, for training needs some too."""

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def machine_memory() -> int | None:
    """Bytes that this machine has, or that its container may use; None where the system does not say.

    All of it and not what is free at the moment, so that a run is the same whatever else is running.
    """
    sizes = [size for size in (_physical(), *map(_limit, map(Path, _LIMITS))) if size]
    return min(sizes, default=None)


def fits(needed: int, memory: int | None) -> bool:
    """Whether `needed` bytes are at most `SHARE` of `memory`; of an unknown memory nothing is too much.

    >>> fits(400, 1000), fits(600, 1000), fits(600, None)
    (True, False, True)
    """
    return memory is None or needed <= SHARE * memory


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system has sysconf, or these names
        return None


def _limit(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None
