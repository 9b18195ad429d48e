"""Names that are no picture of a person's: dot files, and what systems leave in folders."""

from __future__ import annotations

_SYSTEM = frozenset(
    (
        *("__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "recycler", "lost+found"),
        *("system volume information", "__pycache__", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    )
)
"""Lower-case names of what operating systems, file servers and tools leave in folders, besides dot files."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is no picture of a person's: a dot file, or left by a system.

    >>> is_hidden("cat"), is_hidden(".thumbnails"), is_hidden("@eaDir")
    (False, True, True)
    """
    return name.startswith(".") or name.lower() in _SYSTEM
