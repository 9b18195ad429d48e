"""The published files of a data set: found under the data root, fetched if asked for, read whole."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from anytimenet.core.errors import DataError
from anytimenet.core.files.regular import read_regular
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sources.named.catalogue import CATALOGUE, Form, NamedData
from anytimenet.data.sources.named.download import fetch, md5_of
from anytimenet.data.sources.named.inflating import MOST_BYTES, inflated, members

_log = logging.getLogger(__name__)
_DAMAGED = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


@dataclass(frozen=True)
class OfficialFiles:
    """The files of one published form.

    Attributes:
        form: which one, a `Form.name`.
        content: the bytes of each file by its name, `.gz` undone.
        origin: the folder or archive that they come from.
    """

    form: str
    content: dict[str, bytes]
    origin: Path

    def where(self, name: str) -> str:
        """A file for messages."""
        return f"{name} of {self.origin}"


def data_root(chosen: Path | None = None) -> Path:
    """`chosen`, else `$ANYTIMENET_DATA`, else `data` in the current folder.

    >>> data_root(Path("images")).as_posix()
    'images'
    """
    return Path(chosen or os.environ.get("ANYTIMENET_DATA") or "data").expanduser()


def official_files(data: NamedData, options: DataOptions) -> OfficialFiles:
    """The files of the first published form that is whole, plain or packed.

    They are looked for in the data root, in its sub-folder of the data set's name and in those that the
    archives unpack to. Archives are read as they lie: nothing is unpacked.

    Raises:
        DataError: if there is none (it says what to get and where), or one is damaged.
    """
    root = data_root(options.data_root)
    found = _read(data, root)
    if found is None and options.download:
        _download(data.forms[0], root)
        found = _read(data, root)
    if found is None:
        raise DataError(_missing(data, root))
    return found


def _read(data: NamedData, root: Path) -> OfficialFiles | None:
    for form in data.forms:
        for folder in _folders(data, form, root):
            paths = _paths(form, folder)
            if all(paths.values()):
                content = {name: _content(path, data) for name, path in paths.items() if path is not None}
                for name, md5 in form.md5.items():
                    found = hashlib.md5(content[name], usedforsecurity=False).hexdigest()
                    _warn_unpublished(folder / name, found, md5)
                return OfficialFiles(form.name, content, folder)
    for form in data.forms:
        for folder in (root, root / data.name):
            archive = folder / form.remote[0].name
            if _is_archive(form) and archive.is_file():
                return OfficialFiles(form.name, _unpacked(archive, form), archive)
    return None


def _folders(data: NamedData, form: Form, root: Path) -> Iterator[Path]:
    # The most specific first: the root may hold the files of another data set under the same names.
    yield from (root / form.folder, root / data.name / form.folder, root / data.name, root)


def _paths(form: Form, folder: Path) -> dict[str, Path | None]:
    """Of each file where it lies in `folder`, plain or packed."""
    found: dict[str, Path | None] = {}
    for name in form.files:
        candidates = (folder / name, folder / f"{name}.gz")
        found[name] = next((path for path in candidates if path.is_file()), None)
    return found


def _is_archive(form: Form) -> bool:
    return form.remote[0].name.endswith(".tar.gz")


def _content(path: Path, data: NamedData) -> bytes:
    try:
        if path.suffix != ".gz":
            return read_regular(path, MOST_BYTES)
        md5 = md5_of(path)
        _check_not_another(path, md5, data)
        published = next((r.md5 for form in data.forms for r in form.remote if r.name == path.name), md5)
        _warn_unpublished(path, md5, published)
        return inflated(path)
    except _DAMAGED as error:
        raise _damaged(path, error) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error


def _warn_unpublished(path: Path, md5: str, published: str) -> None:
    """Tells of a file that is not byte for byte the published one: images of it may be others."""
    if md5 != published:
        _log.warning(
            "%s has the md5 checksum %s, and the published file has %s: it is damaged or of another making",
            path,
            md5,
            published,
        )


def _check_not_another(path: Path, md5: str, data: NamedData) -> None:
    """Two data sets share their file names, and only the checksum tells them apart."""
    for other in CATALOGUE.values():
        known = {remote.md5 for form in other.forms for remote in form.remote}
        if other != data and md5 in known:
            raise DataError(
                f"{path} is a file of {other.name}, not of {data.name}; choose another data_root=FOLDER"
            )


def _unpacked(archive: Path, form: Form) -> dict[str, bytes]:
    wanted = {str(PurePosixPath(form.folder, name)): name for name in form.files}
    try:
        _warn_unpublished(archive, md5_of(archive), form.remote[0].md5)
        found = members(archive, wanted)
    except _DAMAGED as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        raise DataError(f"{archive} cannot be read ({error.strerror or error})") from error
    if lacking := [path for path in wanted if path not in found]:
        raise DataError(
            f"{archive} holds no {', '.join(lacking)}; it is not the published file, get it again"
        )
    return {wanted[path]: content for path, content in found.items()}


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"{path} is damaged or cut short ({error}); delete it and get it again")


def _download(form: Form, root: Path) -> None:
    folder = root if _is_archive(form) else root / form.folder
    for remote in form.remote:
        if not (folder / remote.name).is_file():
            fetch(remote, folder)


def _missing(data: NamedData, root: Path) -> str:
    places = " or ".join(
        ", ".join(f"{remote.name} (md5 {remote.md5})" for remote in form.remote) for form in data.forms
    )
    folder = root if _is_archive(data.forms[0]) else root / data.forms[0].folder
    return (
        f"{data.name} needs {places} in {folder}{_partial(data, root)}; get them from {data.page} "
        "(unpacked is fine too), say where they are with data_root=FOLDER or ANYTIMENET_DATA, or "
        "add download=True"
    )


def _partial(data: NamedData, root: Path) -> str:
    """Which files are missing where some are there."""
    for form in data.forms:
        for folder in _folders(data, form, root):
            paths = _paths(form, folder)
            lacking = [name for name, path in paths.items() if path is None]
            if len(lacking) < len(paths):
                return f" ({folder} lacks {', '.join(lacking)})"
    return ""
