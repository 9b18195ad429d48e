"""What the cache keeps of folders at URLs: versions by the SHA-256 of the manifest, the last of each URL."""

from __future__ import annotations

from pathlib import Path

from anytimenet.core.delivery.addresses import Address
from anytimenet.core.delivery.listing import Listing, read_listing
from anytimenet.core.errors import DeliveryError
from anytimenet.core.files.cache_folder import cache_folder
from anytimenet.core.files.regular import read_regular, read_text
from anytimenet.core.files.writing import sha256, write_bytes, write_text
from anytimenet.core.manifest.folder import LARGEST_JSON
from anytimenet.core.manifest.tables import is_table


class Kept:
    """The folder `delivered` of the cache.

    It holds a folder for each version, and beside it the manifest as it was sent: the one in the folder may
    list cost tables of this machine besides.

    Args:
        cache_dir: instead of $ANYTIMENET_CACHE or the user's cache.
        manifests: names that a manifest may have.
    """

    def __init__(self, cache_dir: Path | str | None, manifests: tuple[str, ...]) -> None:
        self._folder = cache_folder(cache_dir) / "delivered"
        self._manifests = manifests

    def version(self, digest: str, where: str) -> Listing | None:
        """The listing of the manifest with this SHA-256; None if it is not here."""
        try:
            data = read_regular(self._sent(digest), LARGEST_JSON)
        except OSError:
            return None
        names = [name for name in self._manifests if (self._folder / digest / name).is_file()]
        if sha256(data) != digest or not names:
            return None
        return read_listing(names[0], data, where)

    def last(self, address: Address) -> Listing | None:
        """What was at a URL when it was last asked; None if nobody asked."""
        try:
            digest = read_text(self._note(address), 64)
        except (OSError, ValueError):
            return None
        return self.version(digest, str(address)) if digest.isalnum() else None

    def keep(self, address: Address, listing: Listing) -> Path:
        """The folder of this version, with its manifest in it.

        Raises:
            OSError: if it cannot be written.
        """
        folder = self._folder / listing.sha256
        if self.version(listing.sha256, str(address)) is None or own_tables(folder, listing) is None:
            write_bytes(folder / listing.name, listing.manifest)
            write_bytes(self._sent(listing.sha256), listing.manifest)
        write_text(self._note(address), listing.sha256)
        return folder

    def _sent(self, digest: str) -> Path:
        return self._folder / f"{digest}.manifest"

    def _note(self, address: Address) -> Path:
        return self._folder / f"{sha256(str(address).encode())[:32]}.last"


def own_tables(folder: Path, listing: Listing) -> frozenset[str] | None:
    """Cost tables that this machine has added to the folder, or put in the place of a table that was sent.

    None where the manifest in the folder is not the one that was sent, tables apart.
    """
    try:
        found = read_listing(listing.name, read_regular(folder / listing.name, LARGEST_JSON), str(folder))
    except (OSError, DeliveryError):
        return None
    names = {*found.files, *listing.files}
    changed = {name for name in names if found.files.get(name) != listing.files.get(name)}
    if not all(is_table(name) for name in changed):
        return None
    there = {name for name in changed if name in found.files}
    for name in there:
        try:
            if (folder / name).stat().st_size != found.files[name].bytes:
                return None
        except OSError:
            return None
    return frozenset(changed)
