"""What a folder holds and is not read: counted, and told in one line."""

from __future__ import annotations

import logging
import os
from collections import Counter
from pathlib import Path

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
