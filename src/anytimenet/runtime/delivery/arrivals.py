"""How the files of further stages come: fetched from a URL, or put into a folder by another program."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Protocol

from anytimenet.core.delivery.remote_folder import RemoteFolder
from anytimenet.core.errors import DeliveryError
from anytimenet.runtime.delivery.stage_files import StageFiles, stage_files


class Arrivals(Protocol):
    """Where the files of a net come from; one thread asks."""

    @property
    def folder(self) -> Path:
        """Where they lie when they are here."""

    @property
    def num_stages(self) -> int:
        """K."""

    def bring(self, stages: int) -> int:
        """Waits until the files of so many stages are here; gives how many stages are, which may be more.

        Raises:
            DeliveryError: if they cannot come, or nobody wants them any more.
        """

    def bring_rest(self) -> None:
        """Waits for the files that no answer needs, if they are fetched."""

    def spoilt(self, stages: int) -> bool:
        """Told that what came for so many stages cannot be used; gives whether it may be put right."""

    def close(self) -> None:
        """Nothing is wanted any more; who waits is let go."""


class RemoteArrivals:
    """Files of a folder at a URL, fetched one after the other.

    Args:
        remote: the folder.
        stopped: the event that its client watches.

    Raises:
        BundleError: if its manifest cannot be used.
    """

    def __init__(self, remote: RemoteFolder, stopped: threading.Event) -> None:
        self._remote, self._stopped = remote, stopped
        self._files = stage_files(remote.folder, remote.listing.name)

    @property
    def folder(self) -> Path:
        """In the cache."""
        return self._remote.folder

    @property
    def num_stages(self) -> int:
        """K."""
        return self._files.num_stages

    def bring(self, stages: int) -> int:
        """Fetches them."""
        self._remote.bring(self._files.of(stages))
        while stages < self.num_stages and all(map(self._remote.holds, self._files.by_stage[stages])):
            stages += 1
        return stages

    def bring_rest(self) -> None:
        """Fetches it."""
        self._remote.bring(self._files.rest)

    def spoilt(self, stages: int) -> bool:
        """Their hashes are right, so that no other try gives other files."""
        return False

    def close(self) -> None:
        """Hangs up."""
        self._stopped.set()


class FolderArrivals:
    """Files that appear in a folder, looked for again and again.

    A file counts once it has the size that the manifest lists; whether it is the right one, its hash tells
    when it is read.

    Args:
        folder: with the manifest already.
        manifest_name: of the manifest.
        stopped: set when nothing is wanted any more.
        poll_s: seconds between two looks.

    Raises:
        BundleError: if the manifest cannot be used.
    """

    def __init__(
        self, folder: Path, manifest_name: str, stopped: threading.Event, poll_s: float = 0.2
    ) -> None:
        self.folder = folder
        self._stopped, self._poll_s = stopped, poll_s
        self._files: StageFiles = stage_files(folder, manifest_name)
        self._unusable: set[tuple[object, ...]] = set()

    @property
    def num_stages(self) -> int:
        """K."""
        return self._files.num_stages

    def bring(self, stages: int) -> int:
        """Waits for them."""
        while (ready := self._ready()) < stages:
            if self._stopped.wait(self._poll_s):
                raise DeliveryError(f"{self.folder} is not watched any more: the delivery was closed")
        return ready

    def bring_rest(self) -> None:
        """Nobody needs it."""

    def spoilt(self, stages: int) -> bool:
        """They are looked at again once one of them has changed."""
        self._unusable.add(self._stamps(stages))
        return True

    def close(self) -> None:
        """Looks no longer."""
        self._stopped.set()

    def _ready(self) -> int:
        ready = 0
        for names in self._files.by_stage:
            if not all(self._is_whole(name) for name in names) or self._stamps(ready + 1) in self._unusable:
                break
            ready += 1
        return ready

    def _is_whole(self, name: str) -> bool:
        try:
            return (self.folder / name).stat().st_size == self._files.files[name].bytes
        except OSError:
            return False

    def _stamps(self, stages: int) -> tuple[object, ...]:
        """What changes when one of the files does."""
        found: list[object] = [stages]
        for name in self._files.of(stages):
            try:
                about = (self.folder / name).stat()
                found.append((about.st_ino, about.st_size, about.st_mtime_ns))
            except OSError:
                found.append(None)
        return tuple(found)
