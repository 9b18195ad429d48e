"""Names of half-written files and folders, and what becomes of those whose writer was killed.

A temporary lies beside what it will become and tells who writes it: `.NAME.MACHINE-PID-RANDOM.tmp`. A folder
that is being replaced waits as `.NAME.MACHINE-PID-RANDOM.old` for the moment in which neither has the name.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
import warnings
from pathlib import Path

_NAME = re.compile(
    r"\.(?P<name>.+)\.(?:(?P<machine>[0-9a-f]{6})-(?P<pid>\d+)-)?[0-9a-f]{8}\.(?P<kind>tmp|old)"
)
_HOURS = 24
"""After so long without a change nobody writes a temporary any more, whichever machine began it."""


def temporary_for(path: Path, kind: str = "tmp") -> Path:
    """A name beside `path` that nobody else uses."""
    return path.with_name(f".{path.name}.{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.{kind}")


def sweep(folder: Path | str) -> list[Path]:
    """Deletes the temporaries in `folder` whose writers are gone, and returns them.

    Never one of a process that is alive, and nothing whose name is not ours. What waits to be put back (see
    `put_back`) stays. Whatever cannot be deleted stays, too: this is housekeeping.
    """
    swept = []
    for path in _temporaries(Path(folder)):
        match = _NAME.fullmatch(path.name)
        assert match is not None
        waits = match["kind"] == "old" and not path.with_name(match["name"]).exists()
        if waits or not _is_stale(path, match):
            continue
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError:
            continue
        swept.append(path)
    return swept


def put_back(path: Path) -> bool:
    """Puts the folder `path` back if its replacement was cut short between two renames; says so.

    Returns whether it did. What a living process is about to rename is left to it.
    """
    if path.exists() or path.is_symlink():
        return False
    for waiting in _temporaries(path.parent):
        match = _NAME.fullmatch(waiting.name)
        assert match is not None
        if (match["kind"], match["name"]) != ("old", path.name) or not _is_stale(waiting, match):
            continue
        try:
            os.rename(waiting, path)
        except OSError:
            return False
        warnings.warn(
            f"{path} was being replaced when its writer was stopped: what was there before has been put back",
            stacklevel=2,
        )
        return True
    return False


def _temporaries(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith((".tmp", ".old"))]
    except OSError:
        return []
    return [folder / name for name in sorted(names) if _NAME.fullmatch(name)]


def _is_stale(path: Path, match: re.Match[str]) -> bool:
    if match["machine"] == _machine() and not _is_alive(int(match["pid"])):
        return True
    try:
        age = time.time() - path.lstat().st_mtime
    except OSError:
        return False
    return age > 3600 * _HOURS and not (match["machine"] == _machine() and int(match["pid"]) == os.getpid())


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # it is there and belongs to somebody else
    return True


def _machine() -> str:
    """Six digits that tell one machine from another on a shared disk: process ids mean nothing elsewhere."""
    name = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return uuid.uuid5(uuid.NAMESPACE_DNS, name or "localhost").hex[:6]
