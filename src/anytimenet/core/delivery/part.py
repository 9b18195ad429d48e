"""A file that is on its way: what has come of it, beside its place, until it is whole and proven."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_WAIT_S = 0.05
_CHUNK = 2**20


class Part:
    """What has come of one file, in `.NAME.part`; one process at a time adds to it.

    Args:
        place: where the file will be.

    Attributes:
        size: bytes that have come.

    Raises:
        OSError: if it cannot be written.
    """

    def __init__(self, place: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        self._place, self._open = place, True
        self._descriptor = os.open(part_of(place), flags | getattr(os, "O_NOFOLLOW", 0), 0o644)
        self._hash = hashlib.sha256()
        self._hashed = 0
        self.size = os.fstat(self._descriptor).st_size

    def is_ours(self) -> bool:
        """Whether it could be locked, and is still the file under its name."""
        if sys.platform != "win32":
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            except OSError:  # a disk without locks
                return True
        found = os.fstat(self._descriptor)
        self.size = found.st_size
        try:
            return os.path.samestat(found, os.stat(part_of(self._place)))
        except FileNotFoundError:
            return False

    def append(self, data: bytes) -> None:
        """Adds what came next; what an earlier process left is hashed before it."""
        self._catch_up()  # to the end, where writing goes on
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._hash.update(data)
        self.size += len(data)
        self._hashed = self.size

    def clear(self) -> None:
        """Begins anew."""
        os.ftruncate(self._descriptor, 0)
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._hash, self._hashed, self.size = hashlib.sha256(), 0, 0

    def sha256(self) -> str:
        """Hexadecimal SHA-256 of what has come."""
        self._catch_up()
        return self._hash.hexdigest()

    def finish(self) -> None:
        """Gives the file its name: it is whole."""
        os.fsync(self._descriptor)
        if sys.platform == "win32":  # which renames no open file
            self.close()
        os.replace(part_of(self._place), self._place)

    def close(self) -> None:
        """Lets go of it."""
        if self._open:
            self._open = False
            os.close(self._descriptor)

    def _catch_up(self) -> None:
        if self._hashed == self.size:
            return
        self._hash = hashlib.sha256()
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        while data := os.read(self._descriptor, _CHUNK):
            self._hash.update(data)
        self._hashed = self.size


def part_of(place: Path) -> Path:
    """Where a file waits until it is whole.

    >>> part_of(Path("costs/cpu.json")).as_posix()
    'costs/.cpu.json.part'
    """
    return place.with_name(f".{place.name}.part")


@contextmanager
def hold_part(place: Path, wanted: Callable[[], None]) -> Iterator[Part | None]:
    """The part of `place`, held until the block ends; None if another process has finished it meanwhile.

    Where another process adds to it, this one waits until that one is done, or has died. On Windows, and on
    disks without locks, nobody waits: there let one process at a time fetch. A mixture is found by its hash.

    Args:
        place: where the file will be.
        wanted: called while waiting; it raises when the file is not wanted any more.

    Raises:
        OSError: if it cannot be written.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    while not place.exists():
        with closing(Part(place)) as part:
            if part.is_ours():
                if place.exists():  # finished between the look and the lock
                    part_of(place).unlink(missing_ok=True)
                    break
                yield part
                return
        wanted()
        time.sleep(_WAIT_S)
    yield None
