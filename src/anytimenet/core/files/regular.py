"""Files that others name are opened here: regular ones only, and no more of them than a limit is read.

A pipe, a socket or a terminal under a file's name would wait for ever, a device never ends, and what a system
invents while it is read (`/proc`) has no size that could be checked. None of them is opened.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable
from os import PathLike
from typing import Any, BinaryIO

MOST_TEXT = 2**26
"""Bytes of a text or a JSON file, 64 MiB: the class names and reports of a million classes are smaller."""

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_regular(path: str | PathLike[str], most: int | None = None) -> int:
    """Size in bytes of the regular file at `path`; links are followed.

    Args:
        most: bytes that it may have.

    Raises:
        OSError: if there is none, it is no regular file, or it is larger. `strerror` says why.
    """
    return _check(os.stat(path), path, most)


def open_regular(path: str | PathLike[str], most: int | None = None) -> BinaryIO:
    """The regular file at `path`, open for reading in bytes; this never waits for another program.

    Raises:
        OSError: as `check_regular`.
    """
    check_regular(path, most)  # before it is opened, for opening a device can do something
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags | getattr(os, "O_CLOEXEC", 0)), "rb")
    try:
        _check(os.fstat(file.fileno()), path, most)  # it may have been exchanged in between
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: str | PathLike[str], most: int = MOST_TEXT) -> bytes:
    """The content of the regular file at `path`, of as many bytes as its size says.

    Raises:
        OSError: as `check_regular`.
    """
    with open_regular(path, most) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def read_text(path: str | PathLike[str], most: int = MOST_TEXT) -> str:
    """The UTF-8 text of the regular file at `path`.

    Raises:
        OSError: as `check_regular`.
        ValueError: if it is no UTF-8.
    """
    return read_regular(path, most).decode("utf-8")


def read_json(
    path: str | PathLike[str],
    most: int = MOST_TEXT,
    pairs: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:
    """The value of the JSON file at `path`.

    Args:
        pairs: makes an object out of its names and values; a dict if None.

    Raises:
        OSError: as `check_regular`.
        ValueError: if it is no JSON, or nested too deeply to be read.
    """
    return parse_json(read_text(path, most), pairs)


def parse_json(content: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value of a JSON text; whatever is wrong with it is a ValueError, NaN and infinity too.

    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: it is nested too deeply
    """
    try:
        return json.loads(content, object_pairs_hook=pairs, parse_constant=_refused)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _check(found: os.stat_result, path: str | PathLike[str], most: int | None) -> int:
    if not stat.S_ISREG(found.st_mode):
        kind = next((words for test, words in _KINDS if test(found.st_mode)), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", os.fspath(path))
    if most is not None and found.st_size > most:
        raise OSError(
            errno.EFBIG, f"its {found.st_size:,} bytes are more than the {most:,} allowed", os.fspath(path)
        )
    return found.st_size
