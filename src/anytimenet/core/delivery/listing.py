"""What a folder's manifest lists: names, sizes and hashes, before anything of it is fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from anytimenet.core.errors import BundleError, DeliveryError
from anytimenet.core.files.regular import parse_json
from anytimenet.core.files.writing import sha256
from anytimenet.core.manifest.folder import CARD_NAME, FileRecord, check_file_name
from anytimenet.core.records import from_json

_MOST_FILES = 20_000


@dataclass(frozen=True)
class Listing:
    """The files of a folder.

    Attributes:
        name: of the manifest: `bundle.json` of a bundle, `manifest.json` of an exported net.
        manifest: its bytes.
        files: the others, by name.
        value: the manifest's JSON object.
    """

    name: str
    manifest: bytes
    files: Mapping[str, FileRecord]
    value: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """Of the manifest, and so of the whole folder."""
        return sha256(self.manifest)

    def bytes_of(self, names: Iterable[str]) -> int:
        """Bytes of these files together."""
        return sum(self.files[name].bytes for name in names)


def read_listing(name: str, data: bytes, where: str) -> Listing:
    """The listing in a manifest.

    Args:
        name: of the manifest.
        data: its bytes.
        where: it came from, for messages.

    Raises:
        DeliveryError: if it is no manifest, or lists a file that could not be kept under its name.

    >>> files = '{"files": {"../../.ssh/config": {"sha256": "' + 64 * "0" + '", "bytes": 3}}}'
    >>> read_listing("bundle.json", files.encode(), "https://example.org")
    Traceback (most recent call last):
    anytimenet.core.errors.DeliveryError: https://example.org/bundle.json: '../../.ssh/config' is no name...
    """
    what = f"{where}/{name}"
    try:
        value = parse_json(data)
    except ValueError as error:
        raise DeliveryError(f"{what} is not JSON ({error}): check the URL") from error
    if not isinstance(value, dict) or not isinstance(value.get("files"), dict):
        raise DeliveryError(f"{what} lists no files: it is no manifest; check the URL")
    if len(value["files"]) > _MOST_FILES:
        raise DeliveryError(f"{what} lists {len(value['files']):,} files: {_MOST_FILES:,} are the most")
    taken = {name.lower(), CARD_NAME.lower()}
    files: dict[str, FileRecord] = {}
    for file, record in value["files"].items():
        try:
            _check_plain(file, taken)
            files[file] = from_json(FileRecord, record, file)
        except BundleError as error:
            raise DeliveryError(f"{what}: {error}") from error
    return Listing(name, data, files, value)


def _check_plain(file: str, taken: set[str]) -> None:
    """Raises BundleError for a name that could leave the folder, hide in it, or take another file's place."""
    parts = check_file_name(file).split("/")
    if len(file.encode()) > 255 or any(part.startswith(".") or part.endswith((".", " ")) for part in parts):
        raise BundleError(f"{file!r} is no plain name of a file")
    if file.lower() in taken:
        raise BundleError(f"{file!r} would take the place of another file")
    taken.add(file.lower())
