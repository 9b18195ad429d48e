"""`RemoteFolder`: a bundle's or an exported net's folder at a URL, and what has come of it into the cache."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

from anytimenet.core import checks
from anytimenet.core.delivery.addresses import Address, parse_url
from anytimenet.core.delivery.client import Client, NoSuchFileError
from anytimenet.core.delivery.kept import Kept, own_tables
from anytimenet.core.delivery.listing import Listing, read_listing
from anytimenet.core.delivery.part import Part, hold_part
from anytimenet.core.delivery.patience import closed
from anytimenet.core.delivery.trying import check_space, with_tries, writing
from anytimenet.core.errors import DeliveryError, UnreachableError
from anytimenet.core.files.cache_folder import cache_folder
from anytimenet.core.files.regular import open_regular
from anytimenet.core.files.writing import sha256
from anytimenet.core.manifest.folder import LARGEST_JSON, MANIFEST_NAME, FileRecord
from anytimenet.core.warning import warn_caller

EXPORT_MANIFEST = "manifest.json"
"""Of an exported net's folder."""

MANIFESTS = (MANIFEST_NAME, EXPORT_MANIFEST)
MOST_BYTES = 16 * 2**30
"""Of all files of one folder, unless somebody allows more."""

_CHUNK = 65_536
_log = logging.getLogger(__name__)


class RemoteFolder:
    """A folder at a URL. Its manifest has been read; files are fetched when they are asked for, and kept.

    They lie in the cache under the SHA-256 of the manifest, so that two versions of one URL never mix, and
    every one of them is compared with the hash that the manifest lists. Hashes from the server that sent the
    files tell of damage, not of origin: for that, pin the manifest (`#sha256=...`) to a hash that you got
    another way.

    Args:
        address: of the folder.
        listing: what its manifest lists.
        folder: on this machine, where files go.
        client: asks the server.
        sleep: waits so many seconds between tries; True if the delivery was closed meanwhile.

    Attributes:
        address, listing, folder: as given.
    """

    def __init__(
        self,
        address: Address,
        listing: Listing,
        folder: Path,
        client: Client,
        sleep: Callable[[float], object],
    ) -> None:
        self.address, self.listing, self.folder = address, listing, folder
        self._client, self._sleep = client, sleep
        self._proven: dict[str, int] = {}
        self._own = own_tables(folder, listing) or frozenset()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        manifests: tuple[str, ...] = MANIFESTS,
        cache_dir: Path | str | None = None,
        most_bytes: int = MOST_BYTES,
        client: Client | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> RemoteFolder:
        """The folder at a URL, once its manifest is here.

        Args:
            url: of the folder: https, or http of this machine; `#sha256=` and the SHA-256 of its manifest pin
                it.
            manifests: names that the manifest may have; the first that is there is taken.
            cache_dir: instead of $ANYTIMENET_CACHE or the user's cache.
            most_bytes: of all its files.
            client: asks the server.
            sleep: waits so many seconds.

        Raises:
            DeliveryError: if the URL or the manifest is refused, or not the one that it is pinned to.
            UnreachableError: if the server does not answer. A pinned manifest in the cache needs none; for
                another, what the URL listed the last time is taken, with a warning.
        """
        address, pin = parse_url(url, manifests)
        most_bytes = checks.whole_number(most_bytes, "most_bytes", 1)
        client, kept = client or Client(), Kept(cache_dir, manifests)
        listing = None if pin is None else kept.version(pin, str(address))
        if listing is None:
            ask = partial(_fetched, address, client, manifests, pin)
            listing = _asked(ask, client, sleep, None if pin else kept.last(address))
        total = listing.bytes_of(listing.files)
        if total > most_bytes:
            raise DeliveryError(
                f"{address} lists {total:,} bytes, and {most_bytes:,} are allowed: fetch it with another tool"
            )
        with writing(cache_folder(cache_dir)):
            folder = kept.keep(address, listing)
        return cls(address, listing, folder, client, sleep)

    def bring(self, names: Iterable[str]) -> None:
        """Fetches the files of these names that are not here yet, in order.

        What a broken connection left is gone on with; after some tries without progress it is given up, and
        what came stays for the next time.

        Raises:
            DeliveryError: if a file is not the one that the manifest lists, or cannot be written.
            UnreachableError: if the server does not answer any more.
        """
        left = [name for name in names if not self.holds(name)]
        with writing(self.folder):
            check_space(self.folder, self.listing.bytes_of(left))
        for name in left:
            _log.info("fetching %s", self.address.file(name))
            with writing(self.folder / name):
                self._bring(name, self.listing.files[name])

    def holds(self, name: str) -> bool:
        """Whether a file is here and whole. It is hashed when first asked for, then known by its time."""
        if name in self._own:
            return True
        record, place = self.listing.files[name], self.folder / name
        try:
            found = place.stat()
            if found.st_size != record.bytes:
                return False
            if self._proven.get(name) != found.st_mtime_ns:
                with open_regular(place, record.bytes) as file:
                    digest = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
                if digest != record.sha256:
                    return False
                self._proven[name] = found.st_mtime_ns
        except OSError:
            return False
        return True

    def _bring(self, name: str, record: FileRecord) -> None:
        place = self.folder / name
        while not self.holds(name):
            place.unlink(missing_ok=True)  # of another size or hash: damaged since
            with hold_part(place, self._check_wanted) as part:
                if part is None:
                    continue
                self._fill(part, name, record)
                part.finish()
                self._proven[name] = place.stat().st_mtime_ns

    def _fill(self, part: Part, name: str, record: FileRecord) -> None:
        """Fetches until the part is the file."""
        if part.size > record.bytes:
            part.clear()
        anew = part.size == 0
        while True:
            if part.size < record.bytes:
                download = partial(self._download, part, name, record)
                with_tries(self._client.patience, self._sleep, download, lambda: part.size)
            if part.sha256() == record.sha256:
                return
            part.clear()
            if anew:
                raise DeliveryError(
                    f"{self.address.file(name)} is not the file that {self.listing.name} lists (its SHA-256 "
                    "differs), and was not kept: it was changed or is being replaced; try again later"
                )
            anew = True  # what an earlier try left may have been of another file

    def _download(self, part: Part, name: str, record: FileRecord) -> None:
        address = self.address.file(name)
        with self._client.get(address, part.size) as reply:
            begins = reply.first_byte
            if reply.length not in (None, record.bytes - begins):
                raise DeliveryError(
                    f"{address} has {begins + (reply.length or 0):,} bytes, and {self.listing.name} lists "
                    f"{record.bytes:,}: it was not fetched; ask whoever runs the server"
                )
            known, left = part.size - begins, record.bytes - begins  # a server may know no ranges
            while left:
                data = reply.read(min(left, _CHUNK))
                if not data:
                    raise UnreachableError(
                        f"{address} was cut off after {part.size:,} of {record.bytes:,} bytes; try again, "
                        "what came is kept"
                    )
                part.append(data[known:])
                known, left = max(known - len(data), 0), left - len(data)
            if reply.length is None and reply.read(1):
                part.clear()
                raise DeliveryError(
                    f"{address} goes on after the {record.bytes:,} bytes that {self.listing.name} lists: it "
                    "was not kept; ask whoever runs the server"
                )

    def _check_wanted(self) -> None:
        if self._client.stopped.is_set():
            raise closed(self.address)


def _asked(
    ask: Callable[[], Listing], client: Client, sleep: Callable[[float], object], last: Listing | None
) -> Listing:
    """What the server lists; where it does not answer, what it listed the last time."""
    if last is None:
        return with_tries(client.patience, sleep, ask)
    try:
        return ask()
    except UnreachableError as error:
        warn_caller(f"{error}. What it listed the last time is taken")
        return last


def _fetched(address: Address, client: Client, manifests: tuple[str, ...], pin: str | None) -> Listing:
    for name in manifests:
        try:
            data = _manifest(address.file(name), client)
        except NoSuchFileError:
            continue
        if pin is not None and sha256(data) != pin:
            raise DeliveryError(
                f"{address.file(name)} has the SHA-256 {sha256(data)}, and the URL is pinned to {pin}: it is "
                "another version, or not from whom you think"
            )
        return read_listing(name, data, str(address))
    raise NoSuchFileError(
        f"{address} holds no {' and no '.join(manifests)}: give the URL of a bundle's folder"
    )


def _manifest(address: Address, client: Client) -> bytes:
    data = bytearray()
    with client.get(address) as reply:
        if (reply.length or 0) <= LARGEST_JSON:
            while len(data) <= LARGEST_JSON and (more := reply.read(_CHUNK)):
                data += more
        if (reply.length or len(data)) > LARGEST_JSON:
            raise DeliveryError(
                f"{address} is larger than the {LARGEST_JSON:,} bytes of any manifest: check the URL"
            )
        if reply.length and len(data) < reply.length:
            raise UnreachableError(f"{address} was cut off after {len(data):,} bytes; try again")
    return bytes(data)
