"""What archives unfold to, up to a limit: a megabyte of gzip can hold a gigabyte, a short tar even more."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from anytimenet.core.errors import DataError
from anytimenet.core.files.regular import open_regular

MOST_BYTES = 2**28
"""Of one file, packed or not; the largest of the published ones has 47 million."""
_MOST_IN_ARCHIVE = 2**29
_MOST_MEMBERS = 1000


def inflated(path: Path) -> bytes:
    """The content of a .gz file, read to its end, so that gzip's checksum is compared.

    Raises:
        DataError: if it is larger than any published file.
        OSError, EOFError, zlib.error: if it cannot be read, or is damaged.
    """
    with open_regular(path) as packed, gzip.GzipFile(fileobj=packed) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise _too_large(path, MOST_BYTES)
    return content


def members(archive: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The files of a .tar.gz archive with these paths in it; it is read to its end.

    Raises:
        DataError: if it unfolds to more than any published archive.
        OSError, EOFError, zlib.error, tarfile.TarError: if it cannot be read, or is damaged.
    """
    found: dict[str, bytes] = {}
    with open_regular(archive) as packed, gzip.GzipFile(fileobj=packed) as file:
        bounded = _Bounded(file, archive)
        with tarfile.open(fileobj=bounded, mode="r|") as tar:  # type: ignore[call-overload]
            for count, member in enumerate(tar, 1):
                if count > _MOST_MEMBERS:
                    raise DataError(f"{archive} holds more than {_MOST_MEMBERS} files; get it again")
                name = str(PurePosixPath(member.name))
                if name in wanted and member.isfile() and not member.issparse():
                    content = tar.extractfile(member)
                    assert content is not None
                    found[name] = content.read()
        bounded.read_to_end()
    return found


class _Bounded:
    """A file that may be read up to a number of bytes, which are asked for before there is room for them."""

    def __init__(self, file: gzip.GzipFile | BinaryIO, path: Path) -> None:
        self._file, self._path, self._left = file, path, _MOST_IN_ARCHIVE

    def read(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise _too_large(self._path, _MOST_IN_ARCHIVE)
        return self._file.read(size)

    def read_to_end(self) -> None:
        while self.read(2**16):
            pass


def _too_large(path: Path, most: int) -> DataError:
    return DataError(f"{path} unfolds to more than {most:,} bytes, so it is no published file; get it again")
