"""Images that the verbs `page` and `serve` give a page to try: from folders, or of data by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anytimenet.core.manifest.manifest import Manifest
    from anytimenet.serving.samples import Sample

OFFLINE = ("digits",)
"""Data that needs no files: its images come with a package."""


def offline_data(manifest: Manifest) -> str | None:
    """What the net was trained on, if that needs no files; else None."""
    note = manifest.provenance.get("data")
    named = note.get("name") if isinstance(note, dict) else None
    return named if named in OFFLINE else None


def candidates(named: str) -> list[Sample]:
    """Samples of a folder of images, or held-out ones of data by name.

    Raises:
        DataError: if the folder holds none, or there is no such data.
    """
    from anytimenet.serving.samples import samples_in

    folder = Path(named.removeprefix("folder:"))
    return samples_in(folder) if folder.is_dir() else held_out(named)


def held_out(name: str) -> list[Sample]:
    """Test images of data by name.

    Raises:
        DataError: if there is no such data.
    """
    from anytimenet.core.errors import require

    require("torch", "train")
    import io

    from PIL import Image

    from anytimenet.data import ImageFiles, ImageSet, load_data
    from anytimenet.serving.samples import MOST_TRIED, sample_of

    splits = load_data(name)
    images = splits.test
    if not isinstance(images, ImageSet | ImageFiles):
        raise ValueError(f"--samples {name}: its images have masks, and the page shows labels")
    names, counts, found = splits.class_names[0], dict.fromkeys(splits.class_names[0], 0), []
    for place, row in enumerate(images.labels):
        label = names[int(row[0])]
        counts[label] += 1
        if counts[label] > MOST_TRIED:
            continue
        if isinstance(images, ImageFiles):
            content = images.path(place).read_bytes()
        else:
            buffer = io.BytesIO()
            pixels = images.images[place]
            Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG")
            content = buffer.getvalue()
        found.append(sample_of(content, label))
    return found
