"""One run at a time in a folder: whoever writes into it holds it, until the run ends or its process dies."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anytimenet.core.errors import TrainingError
from anytimenet.core.launcher import launched_rank

if sys.platform != "win32":
    import fcntl

LOCK_NAME = ".anytimenet-lock"
_HELD = (errno.EWOULDBLOCK, errno.EACCES)
_open_locks: set[int] = set()
"""Descriptors of this process: its forked children, which read images, must not keep the folder after it."""


@dataclass(frozen=True)
class HeldFolder(os.PathLike[str]):
    """A folder that this run holds; given on as a path, it is not asked for a second time."""

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)


@contextmanager
def hold(folder: Path | str | HeldFolder) -> Iterator[HeldFolder]:
    """Holds `folder`, which is made if it is missing, for as long as the block runs.

    Of several processes of one run the first holds it for all. The system releases it when the process ends,
    in whatever way. Where a disk knows no locks, nothing is held.

    Raises:
        TrainingError: if another run holds it.
        OSError: if it can be neither made nor written into.
    """
    if isinstance(folder, HeldFolder):
        yield folder
        return
    folder = Path(folder)
    if launched_rank() > 0 or sys.platform == "win32":
        yield HeldFolder(folder)
        return
    made = _make(folder)
    lock = _locked(folder)
    try:
        yield HeldFolder(folder)
    finally:
        if lock in _open_locks:  # not in a child, which has let go of it
            (folder / LOCK_NAME).unlink(missing_ok=True)
            _open_locks.remove(lock)
            os.close(lock)
        for path in reversed(made):
            try:
                path.rmdir()  # of a run that was refused nothing stays, not even an empty folder
            except OSError:
                break


def _make(folder: Path) -> list[Path]:
    """The folders that were missing, outermost first."""
    made = []
    for path in (*reversed(folder.parents), folder):
        try:
            path.mkdir()
            made.append(path)
        except FileExistsError:
            continue
    return made


def _locked(folder: Path) -> int | None:
    path = folder / LOCK_NAME
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if error.errno in _HELD:
                raise TrainingError(
                    f"another run is writing into {folder} at this moment: choose another folder, or wait "
                    "until it has ended"
                ) from error
            return None
        if _is_same(lock, path):
            _open_locks.add(lock)
            return lock
        os.close(lock)  # the run before took it away in between: what was locked is no longer in the folder


def _is_same(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), os.stat(path))
    except FileNotFoundError:
        return False


def _let_go() -> None:
    while _open_locks:
        os.close(_open_locks.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
