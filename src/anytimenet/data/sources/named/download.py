"""Published files over the network: to a temporary file, checked, and only then under their name."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from anytimenet.core.errors import DataError
from anytimenet.core.files.temporaries import sweep, temporary_for
from anytimenet.data.sources.named.catalogue import RemoteFile

_CHUNK = 1 << 20
_TIMEOUT_S = 60
_log = logging.getLogger(__name__)


def fetch(file: RemoteFile, folder: Path) -> Path:
    """Downloads a file into `folder`; nothing is left there unless its checksum is right.

    Raises:
        DataError: if it cannot be fetched or written, is cut short, or has another checksum.
    """
    _log.warning("fetching %s", file.url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _fetch(file, folder / file.name)
    except OSError as error:
        raise DataError(f"{folder / file.name} cannot be written ({error.strerror or error})") from error


def md5_of(path: Path) -> str:
    """The checksum of a file as its publishers state it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _fetch(file: RemoteFile, path: Path) -> Path:
    sweep(path.parent)
    temporary = temporary_for(path)
    try:
        with open(temporary, "wb") as into:
            md5 = _copy(file, into)
            into.flush()
            os.fsync(into.fileno())
        if md5 != file.md5:
            raise DataError(
                f"{file.url} has the md5 checksum {md5} instead of {file.md5}, so it is not the published "
                f"file and was not kept; get it elsewhere and put it into {path.parent}"
            )
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _copy(file: RemoteFile, into: BinaryIO) -> str:
    """Copies what the server sends and gives its checksum."""
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in _chunks(file):
        into.write(chunk)
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(file: RemoteFile) -> Iterator[bytes]:
    """What the server sends. Errors of the network become DataError here, those of the disk elsewhere."""
    received = 0
    try:
        with urllib.request.urlopen(file.url, timeout=_TIMEOUT_S) as response:
            expected = response.headers.get("Content-Length")
            while chunk := response.read(_CHUNK):
                received += len(chunk)
                yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(file, error) from error
    if expected is not None and received < int(expected):
        raise _unreachable(file, f"only {received} of {expected} bytes came")


def _unreachable(file: RemoteFile, why: object) -> DataError:
    return DataError(
        f"{file.url} cannot be fetched ({why}); try again, or get {file.name} (md5 {file.md5}) elsewhere and "
        "put it under data_root=FOLDER"
    )
