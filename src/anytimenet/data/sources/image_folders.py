"""Folders of image files: each real folder and file is read once, and what is left aside is counted."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from anytimenet.core.errors import DataError
from anytimenet.core.files.hidden_names import is_hidden
from anytimenet.core.images.formats import is_image_name

_Key = tuple[int, int]  # device and inode: what a folder or file is, whatever it is called


@dataclass(frozen=True)
class Folder:
    """A folder to read.

    Attributes:
        path: of the folder.
        linked: whether a link below the start leads to it, so that it may be read elsewhere as well.
    """

    path: Path
    linked: bool = False

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.name


@dataclass(frozen=True)
class ImageFile:
    """An image file as it was found.

    Attributes:
        path: of the file.
        stamp: size and times, which change when the file does; of a broken link, which decoding names, the
            size is -1.
    """

    path: str
    stamp: tuple[int, int, int]


class ImageFolders:
    """Reads folders below some starts, each real folder once.

    Folders that are really there go before links to them: a link to a folder that is read anyway, or to one
    that holds what is read, is left aside, so that no loop is followed and no image read twice. Hidden names
    and those of systems are left aside too, and so are pipes, sockets and devices.

    Args:
        root: what messages are relative to.
        starts: the folders from which everything is read.

    Raises:
        OSError: if a folder cannot be listed.
    """

    def __init__(self, root: Path, starts: Iterable[Path]) -> None:
        self.root = root
        self.aside = LeftAside()
        self._folders: set[_Key] = set()
        self._files: dict[_Key, tuple[object, str]] = {}
        self._looked: dict[Path, tuple[list[Folder], list[str]]] = {}
        for start in (root, *starts):
            real = Path(os.path.realpath(start))
            self._folders.update(_key(os.stat(folder)) for folder in (real, *real.parents))
        for start in starts:
            self._folders.update(_key(os.stat(folder)) for folder in _real_folders(start))

    def look(self, folder: Folder) -> tuple[list[Folder], list[str]]:
        """The folders in a folder and the paths of its images, sorted by name; the rest is counted."""
        if folder.path not in self._looked:
            self._looked[folder.path] = self._look(folder)
        return self._looked[folder.path]

    def _look(self, folder: Folder) -> tuple[list[Folder], list[str]]:
        folders: list[Folder] = []
        images: list[str] = []
        with os.scandir(folder.path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            path = os.path.join(folder.path, entry.name)
            if entry.is_dir():
                inner = self._inner(path, folder.linked or entry.is_symlink())
                folders += [] if inner is None else [inner]
            elif is_hidden(entry.name):
                self.aside.add(HIDDEN_FILE, path)
            elif not entry.is_file() and os.path.exists(path):  # a broken link stays: decoding names it
                self.aside.add(NOT_REGULAR, path)
            elif is_image_name(entry.name):
                images.append(path)
            else:
                self.aside.add_file(entry.name, path)
        return folders, images

    def images_in(self, folder: Folder) -> list[str]:
        """The images in a folder; folders inside it are counted."""
        folders, images = self.look(folder)
        for inner in folders:
            self.aside.add(INNER_FOLDER, inner.path)
        return images

    def walk(self, folder: Folder, label: object) -> Iterator[ImageFile]:
        """The images in a folder and all folders inside it; all are of one `label`.

        Raises:
            DataError: if one of them is a link to a file of another label.
        """
        folders, images = self.look(folder)
        for path in images:
            file = self.take(path, label)
            if file is not None:
                yield file
        for inner in folders:
            yield from self.walk(inner, label)

    def take(self, path: str, label: object) -> ImageFile | None:
        """One image of a label; None, and counted, where the same file was taken under another name.

        Raises:
            DataError: if it was taken with another label.
        """
        try:
            found = os.stat(path)
        except OSError:
            return ImageFile(path, _NO_FILE)
        other_label, other = self._files.setdefault(_key(found), (label, path))
        if other is not path and found.st_ino:  # 0 where the system has no such numbers
            if other_label != label:
                raise DataError(
                    f"{path} and {other} are one file in two classes or parts: keep one of the two links"
                )
            self.aside.add(SEEN_FILE, path)
            return None
        return ImageFile(path, _stamp(found))

    def _inner(self, path: str, linked: bool) -> Folder | None:
        if is_hidden(os.path.basename(path)):
            self.aside.add(HIDDEN_FOLDER, path)
            return None
        if linked:
            key = _key(os.stat(path))
            if key in self._folders:
                self.aside.add(SEEN_FOLDER, path)
                return None
            self._folders.add(key)
        return Folder(Path(path), linked)


def stamp(path: Path | str) -> tuple[int, int, int]:
    """Size and times of a file: another file in its place has others, even of equal size and date.

    The time of the last change of status cannot be set back as that of the content can.
    """
    try:
        return _stamp(os.stat(path))
    except OSError:
        return _NO_FILE


_NO_FILE = (-1, 0, 0)
"""In place of a stamp: decoding names the file."""


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _real_folders(start: Path) -> Iterator[str]:
    """`start` and the folders below it that are no links and not hidden."""
    for parent, folders, _ in os.walk(start):
        folders[:] = [name for name in folders if not is_hidden(name)]
        paths = (os.path.join(parent, name) for name in folders)
        yield from (path for path in paths if not os.path.islink(path))


def _key(found: os.stat_result) -> _Key:
    return found.st_dev, found.st_ino


_log = logging.getLogger(__name__)

HIDDEN_FILE = ("hidden file", "hidden files")
HIDDEN_FOLDER = ("hidden or system folder", "hidden or system folders")
INNER_FOLDER = ("folder inside", "folders inside")
BESIDE_PARTS = ("folder beside the parts", "folders beside the parts")
LOOSE_IMAGE = ("image beside the folders", "images beside the folders")
NOT_REGULAR = ("pipe, socket or device", "pipes, sockets or devices")
SEEN_FILE = ("link to a file that is read already", "links to files that are read already")
SEEN_FOLDER = ("link to a folder that is read already", "links to folders that are read already")

_USED = ("taxonomy.json", "classes.json")
"""Files that are read for what they say."""

Reason = tuple[str, str]


class LeftAside:
    """Counts of what is left aside, by reason; files of no image format by their suffix."""

    def __init__(self) -> None:
        self._counts: Counter[Reason] = Counter()
        self._examples: dict[Reason, str] = {}

    def add(self, reason: Reason, path: str | Path) -> None:
        """Counts something; folders, links and what is no file are told with one of their names."""
        self._counts[reason] += 1
        if reason in (BESIDE_PARTS, HIDDEN_FOLDER, INNER_FOLDER, NOT_REGULAR, SEEN_FILE, SEEN_FOLDER):
            self._examples.setdefault(reason, os.fspath(path))

    def add_file(self, name: str, path: str | Path) -> None:
        """Counts a file that is no image by its name."""
        if name in _USED:
            return
        suffix = os.path.splitext(name)[1].lower()
        self.add((suffix, suffix) if suffix else ("file without a suffix", "files without a suffix"), path)

    @property
    def counts(self) -> dict[str, int]:
        """How much of each kind, the most frequent first."""
        return {reason[1]: count for reason, count in self._counts.most_common()}

    def tell(self, root: Path) -> None:
        """Says it in one line of the log; nothing where nothing is left aside."""
        if self._counts:
            _log.warning("left aside in %s: %s", root, ", ".join(self._told(root)))

    def _told(self, root: Path) -> list[str]:
        told = []
        for reason, count in self._counts.most_common():
            example = self._examples.get(reason)
            where = f" ({os.path.relpath(example, root)}{', ...' if count > 1 else ''})" if example else ""
            told.append(f"{count} {reason[count > 1]}{where}")
        return told
