"""The files of a bundle's folder: where it is, which names are allowed, and that each is what was saved."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from anytimenet.core.errors import BundleError
from anytimenet.core.files.regular import check_regular, read_json, read_regular
from anytimenet.core.files.temporaries import put_back
from anytimenet.core.files.writing import sha256
from anytimenet.core.records import JsonForm, Record
from anytimenet.core.registered import kind_of

FORMAT = "anytimenet-bundle"
MANIFEST_NAME = "bundle.json"
CARD_NAME = "README.md"
AGAIN = "download or save the bundle again"
LARGEST_JSON = 16 * 2**20
"""Bytes of a JSON file: far above a bundle of 20,000 classes, and parsed it still fits any machine."""

IN_BUNDLE = JsonForm(error=BundleError, cure=AGAIN, strict=True)
"""Of the records in `bundle.json`."""


@dataclass(frozen=True)
class FileRecord(Record):
    """Size and hexadecimal SHA-256 of one file."""

    sha256: str
    bytes: int
    json_form = IN_BUNDLE

    def __post_init__(self) -> None:
        if not (isinstance(self.sha256, str) and re.fullmatch("[0-9a-f]{64}", self.sha256)):
            raise BundleError(f"sha256 must be 64 hexadecimal digits, not {self.sha256!r}")
        if type(self.bytes) is not int or self.bytes < 0:
            raise BundleError(f"bytes must be a size, not {self.bytes!r}")


def record_of(data: bytes) -> FileRecord:
    """The record of a file with this content.

    >>> record_of(b"12345").bytes
    5
    """
    return FileRecord(sha256(data), len(data))


def find_bundle(path: Path | str) -> Path:
    """The folder with `bundle.json`: `path`, or `path/bundle` where `path` is a run's folder.

    Raises:
        BundleError: if there is none.
    """
    path = Path(path)
    for folder in (path, path / "bundle"):
        put_back(folder)
        if os.path.isfile(folder / MANIFEST_NAME):
            return folder
    if os.path.isfile(path / "manifest.json"):
        raise BundleError(
            f"{path} holds an exported net, not a bundle: anytimenet.runtime.load reads it; give the "
            "bundle that it was exported from"
        )
    if str(path).startswith(("https:", "http:")):
        raise BundleError(
            f"{path} is a URL, and here a folder is needed: anytimenet.load(URL) in Python fetches it"
        )
    seeds = sorted(str(folder) for folder in path.glob("seed-*"))
    if seeds:
        raise BundleError(f"{path} holds one run a seed; give one of them, for example {seeds[0]}")
    if (path / "joint").is_dir():
        raise BundleError(f"{path} holds several runs; give one of them, for example {path / 'joint'}")
    if (path / "checkpoints").is_dir():
        raise BundleError(
            f"{path} holds a run that is not finished: go on with the same settings and resume=True, or "
            f"start another from its weights, init={str(path / 'checkpoints' / 'best.safetensors')!r}"
        )
    if not os.path.isdir(path):
        what = "is a file; give the bundle's folder" if os.path.isfile(path) else "does not exist"
        if (known := kind_of(str(path))) is not None:
            what += f": it is {known}, and the folder of a bundle is needed, as training writes it"
        raise BundleError(f"{path} {what}")
    raise BundleError(
        f"{path} is not a bundle: it holds no {MANIFEST_NAME}, nor a folder bundle/ with one; "
        "give the folder that Bundle.save wrote"
    )


def check_replaceable(path: Path) -> None:
    """Checks that a bundle saved at `path` would replace a bundle or nothing.

    Raises:
        BundleError: if something else is there, or files that are not the bundle's lie in its folder.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    listed = _listed_files(path)
    if listed is None:
        raise BundleError(f"{path} exists and is not a bundle: choose another folder, or move it away first")
    found = {file.relative_to(path).as_posix() for file in path.rglob("*") if not file.is_dir()}
    foreign = sorted(found - listed)
    if foreign:
        raise BundleError(f"{path / foreign[0]} is not the bundle's and would be lost: move it away first")


def check_file_name(name: str) -> str:
    """`name`, if it names a file inside the folder with forward slashes, such as `costs/cpu.json`.

    Raises:
        BundleError: for anything that could leave the folder or that some system cannot store.

    >>> check_file_name("../secret")
    Traceback (most recent call last):
    anytimenet.core.errors.BundleError: '../secret' is no name of a file inside a bundle
    """
    parts = name.split("/") if isinstance(name, str) else [""]
    if any(
        part in ("", ".", "..") or re.search(r'[\\:*?"<>|\x00-\x1f\ud800-\udfff]', part) for part in parts
    ):
        raise BundleError(f"{name!r} is no name of a file inside a bundle")
    return name


def read_listed(
    folder: Path, name: str, record: FileRecord, *, listed_in: str = MANIFEST_NAME, again: str = AGAIN
) -> bytes:
    """The content of the file `name`, checked against its record; nothing is read if the size is wrong.

    Links are followed, as download caches need it; the hash decides.

    Args:
        listed_in: the manifest with the record, for messages.
        again: what mends the folder, for messages.

    Raises:
        BundleError: if it is missing, truncated, or not the file that was saved.
    """
    file = folder / check_file_name(name)
    try:
        size = check_regular(file)
        data = read_regular(file, size) if size == record.bytes else b""
    except FileNotFoundError:
        raise BundleError(f"{file} is missing: {again}") from None
    except OSError as error:
        raise BundleError(f"{file} cannot be read ({error.strerror or error}): {again}") from error
    if size != record.bytes:
        what = "truncated" if size < record.bytes else "another file"
        raise BundleError(f"{file} is {what} ({size} bytes instead of {record.bytes}): {again}")
    if sha256(data) != record.sha256:
        raise BundleError(
            f"{file} is not the file that {listed_in} lists (its SHA-256 differs): it was changed, damaged "
            f"or taken from another folder; {again}"
        )
    return data


def _listed_files(path: Path) -> set[str] | None:
    """The files that the bundle at `path` may consist of, whatever its format version; None for no bundle."""
    try:
        value = read_json(path / MANIFEST_NAME, LARGEST_JSON)
        return {*value["files"], MANIFEST_NAME, CARD_NAME} if value["format"] == FORMAT else None
    except (OSError, ValueError, TypeError, KeyError):
        return None
