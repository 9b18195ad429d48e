"""Writes the hostile files of this folder's README: `python examples/attacks/make.py OUT`.

Nothing here does harm to a reader that keeps the promises of SECURITY.md; do not open them with others.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from hostile_bundles import BUNDLES, true_bundle
from hostile_images import IMAGES


def make(out: Path) -> None:
    """Fills `out` with `images/` and `bundles/`."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    for name, content in IMAGES.items():
        (out / "images" / name).write_bytes(content())
    true = true_bundle(out / "bundles" / "true")
    for name in BUNDLES:
        hostile(true, out / "bundles" / name, name)


def hostile(true: Path, folder: Path, name: str) -> Path:
    """Copies a whole bundle to `folder` and makes it the hostile one of that name."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(true, folder)
    BUNDLES[name](folder)
    return folder


def table() -> str:
    """A line a file: what it tries."""
    tried = [(f"`{name}`", function.__doc__) for name, function in {**IMAGES, **BUNDLES}.items()]
    return "\n".join(f"| {name} | {str(text).splitlines()[0]} |" for name, text in tried)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("give a folder: python examples/attacks/make.py OUT")
    make(Path(sys.argv[1]))
