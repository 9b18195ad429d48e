"""Files that are either whole or absent: written beside their place and renamed into it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from anytimenet.core.files.temporaries import sweep, temporary_for


def write_bytes(path: Path | str, *data: bytes | memoryview) -> None:
    """Writes a file atomically; whoever reads `path` sees the old content or the new, never a mixture.

    Pieces of data are written one after the other, so that large ones need not be joined in memory.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_for(path)
    try:
        with open(temporary, "wb") as file:
            for piece in data:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        # Under its own name: nobody knows the temporary one.
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path | str, text: str) -> None:
    """Writes a UTF-8 text file atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Writes strict JSON atomically; NaN and infinity are refused (they are not JSON)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def new_folder(path: Path | str) -> Iterator[Path]:
    """Fills a temporary folder that takes the place of `path` when the block ends without an error.

    Where the system can exchange two folders in one step there is no moment without one. Elsewhere there is
    one between two renames; who is stopped there leaves the old folder waiting, and `put_back` finds it.
    Temporaries of writers that were killed are swept.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    temporary, old = temporary_for(path), None
    temporary.mkdir()
    try:
        yield temporary
        if not path.exists():
            os.rename(temporary, path)
        elif exchange(temporary, path):
            old = temporary
        else:
            old = temporary_for(path, "old")
            os.rename(path, old)
            try:
                os.rename(temporary, path)
            except OSError:
                os.rename(old, path)
                raise
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def exchange(one: Path, other: Path) -> bool:
    """Lets two paths of one disk change places in one step; False where that cannot be done."""
    rename = _renameat2()
    if rename is None:
        return False
    return rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0


@cache
def _renameat2() -> Callable[..., int] | None:
    """Linux's call of that name; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        found = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    found.restype = ctypes.c_int
    return found


_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of linux/fs.h


def check_writable(folder: Path | str) -> None:
    """Makes `folder` and writes a file there that is deleted again.

    Raises:
        OSError: with the folder's name, if that cannot be done.
    """
    folder = Path(folder)
    probe = temporary_for(folder / "probe")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(folder)) from error


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()
