"""Folders of nets at URLs: all of one, its first stages, or stage by stage; and folders that fill up."""

from __future__ import annotations

import threading
from pathlib import Path

from anytimenet.core import checks
from anytimenet.core.delivery.addresses import is_url
from anytimenet.core.delivery.client import Client
from anytimenet.core.delivery.patience import Patience
from anytimenet.core.delivery.remote_folder import EXPORT_MANIFEST, MOST_BYTES, RemoteFolder
from anytimenet.core.errors import BundleError
from anytimenet.core.manifest.folder import MANIFEST_NAME, find_bundle
from anytimenet.runtime.delivery.arrivals import Arrivals, FolderArrivals, RemoteArrivals
from anytimenet.runtime.delivery.stage_files import stage_files


def fetch(
    url: str,
    stages: int | None = None,
    *,
    cache_dir: Path | str | None = None,
    most_bytes: int = MOST_BYTES,
    patience: Patience | None = None,
) -> Path:
    """The folder of a bundle or an exported net at a URL, on this machine: fetched, or found in the cache.

    Only https is fetched, and http of this machine; a redirect keeps its scheme and never leads from a public
    server into a private network. Sizes are known before a byte is read, and every file is compared with the
    hash that the manifest lists. A download that was cut goes on where it was. Hashes from the server that
    sent the files tell of damage and not of origin: `#sha256=` and the SHA-256 of the manifest, which you got
    another way, pin the folder to that very version. Proxies that the environment names are not used.

    Args:
        url: of the folder, or of its `bundle.json` or `manifest.json`.
        stages: fetch what the first so many stages need; every file by default.
        cache_dir: instead of $ANYTIMENET_CACHE or the user's cache.
        most_bytes: that the folder may have.
        patience: how long a server is waited for.

    Raises:
        DeliveryError: if the URL or what the server does is refused, or the files cannot be written.
        UnreachableError: if the server does not answer; what came is kept for the next time.
        BundleError: if what came is no bundle or exported net.
        ValueError: if there are not so many stages.

    >>> fetch("https://me:secret@example.org/digits")
    Traceback (most recent call last):
    anytimenet.core.errors.DeliveryError: the URL holds a user name or password (@): ...
    """
    remote = RemoteFolder.open(url, cache_dir=cache_dir, most_bytes=most_bytes, client=Client(patience))
    return bring(remote, stages)


def bring(remote: RemoteFolder, stages: int | None = None) -> Path:
    """The folder, once what the first so many stages need has come; all of it by default."""
    files = stage_files(remote.folder, remote.listing.name)
    if stages is not None:
        stages = checks.whole_number(stages, "stages", 1, files.num_stages)
    remote.bring(files.of(files.num_stages if stages is None else stages))
    if stages is None:
        remote.bring(files.rest)
    return remote.folder


def fetched(url: str, wanted: str, stages: int | None) -> Path:
    """As `fetch`, for a folder with the manifest of the name `wanted`; the other kind is not fetched.

    Raises:
        BundleError: if the URL holds the other kind.
    """
    remote = RemoteFolder.open(url)
    check_kind(remote.listing.name, wanted, remote.address)
    return bring(remote, stages)


def arrivals_at(place: Path | str, wanted: str, patience: Patience | None = None) -> Arrivals:
    """What comes from a URL, or into a folder that another program fills.

    Args:
        place: a URL, or a folder that holds its manifest already.
        wanted: the manifest's name: of a bundle, or of an exported net.
        patience: how long a server is waited for.

    Raises:
        DeliveryError: for a URL that is refused or does not answer.
        BundleError: if there is no such manifest, or it cannot be used.
    """
    stopped = threading.Event()
    if is_url(place):
        client = Client(patience, stopped=stopped)
        remote = RemoteFolder.open(str(place), client=client, sleep=stopped.wait)
        check_kind(remote.listing.name, wanted, remote.address)
        return RemoteArrivals(remote, stopped)
    path = checks.path(place, "path")
    return FolderArrivals(find_bundle(path) if wanted == MANIFEST_NAME else path, wanted, stopped)


def check_kind(name: str, wanted: str, place: object) -> None:
    """Raises BundleError where a folder is of the other kind; the message says what reads it."""
    if name != wanted:
        kinds = {
            MANIFEST_NAME: "a bundle: anytimenet.load reads it, or export it first",
            EXPORT_MANIFEST: "an exported net: anytimenet.runtime.load reads it",
        }
        raise BundleError(f"{place} holds {kinds[name]}")
