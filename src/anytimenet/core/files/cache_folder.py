"""Where what can be made or fetched again is kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(chosen: Path | str | None = None) -> Path:
    """`chosen`, else `$ANYTIMENET_CACHE`, else `anytimenet` in the user's cache folder."""
    if chosen is not None:
        return Path(chosen).expanduser()
    if own := os.environ.get("ANYTIMENET_CACHE"):
        return Path(own).expanduser()
    user = os.environ.get("XDG_CACHE_HOME")
    return (Path(user) if user else Path("~/.cache").expanduser()) / "anytimenet"
