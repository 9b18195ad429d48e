"""Images that a page offers to try: chosen from held-out ones, small, with what the net says of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from anytimenet.core.errors import DataError
from anytimenet.core.files.hidden_names import is_hidden
from anytimenet.core.files.writing import write_bytes, write_json
from anytimenet.core.images.decoding import open_content
from anytimenet.runtime.predictor import Predictor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
"""What every browser shows."""
MOST_TRIED = 40
"""Images of a class that the net is asked for."""
LIST_NAME = "samples.json"
"""What tells that a folder holds samples for a page: their files, classes, and what each stage says."""
_BEGINNINGS = {".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".webp": b"RIFF"}
_MOST_BYTES = 60_000
_MOST_SIDE = 320


@dataclass(frozen=True)
class Sample:
    """One image for a page.

    Attributes:
        content: of the file, as people's browsers get it.
        suffix: of its name, with the dot.
        label: the class that it really shows; None where nobody said.
        labels: what each stage says of it, 1..K; empty before a net was asked.
    """

    content: bytes
    suffix: str
    label: str | None = None
    labels: tuple[str, ...] = ()


def samples_in(folder: Path) -> list[Sample]:
    """The images below a folder, small enough for a page, sorted by name.

    Sub-folders name classes, also those of `test/`, which are taken where there are some.

    Raises:
        DataError: if there is no image that browsers show, or one cannot be read.
    """
    root = folder / "test" if (folder / "test").is_dir() else folder
    found = []
    for parent, names in _folders(root):
        label = None if parent == root else parent.name
        found += [sample_of((parent / name).read_bytes(), label) for name in names[:MOST_TRIED]]
    if not found:
        raise DataError(
            f"{folder} holds no image with a name in {', '.join(SUFFIXES)}: give a folder of some"
        )
    return found


def sample_of(content: bytes, label: str | None = None) -> Sample:
    """A file as a page gets it: as it is if it is small, else made smaller.

    Raises:
        DataError: if it is no image.
    """
    image = open_content(content)
    kind = next((suffix for suffix, begins in _BEGINNINGS.items() if content.startswith(begins)), None)
    if kind and len(content) <= _MOST_BYTES and max(image.size) <= 2 * _MOST_SIDE:
        return Sample(content, kind, label)
    smaller = image.convert("RGB")
    smaller.thumbnail((_MOST_SIDE, _MOST_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    smaller.save(buffer, "JPEG", quality=90)
    return Sample(buffer.getvalue(), ".jpg", label)


def chosen(candidates: Sequence[Sample], predictor: Predictor | None, count: int = 8) -> list[Sample]:
    """`count` of the candidates, the classes in turn; every second one is one that the stages disagree on.

    The first of a class would mostly be easy for every stage, and show nothing; hard ones alone would look as
    if the net knew little. Without a predictor the first of each class are taken.
    """
    waiting = {label: [one for one in candidates if one.label == label] for label in _labels(candidates)}
    found: list[Sample] = []
    while len(found) < count and any(waiting.values()):
        for group in waiting.values():
            if group and len(found) < count:
                asked = [_asked(one, predictor) for one in group] if predictor else group
                hard = [i for i, one in enumerate(asked) if len(set(one.labels)) > 1]
                place = hard[0] if hard and len(found) % 2 else 0
                found.append(asked[place])
                group.pop(place)
    return found


def write_samples(samples: Sequence[Sample], folder: Path) -> None:
    """Writes the files and their list `samples.json`, as the page asks for them."""
    listed = []
    for number, sample in enumerate(samples, 1):
        name = f"{number}{sample.suffix}"
        write_bytes(folder / name, sample.content)
        listed.append({"file": name, "label": sample.label, "labels": list(sample.labels)})
    write_json(folder / LIST_NAME, {"samples": listed})


def _asked(sample: Sample, predictor: Predictor) -> Sample:
    """With what every stage says; asked once."""
    if sample.labels:
        return sample
    image = open_content(sample.content)
    stages = range(1, predictor.model.manifest.num_stages + 1)
    labels = tuple(predictor.predict(image, stage=stage).label for stage in stages)
    return Sample(sample.content, sample.suffix, sample.label, labels)


def _labels(candidates: Sequence[Sample]) -> list[str | None]:
    return list(dict.fromkeys(one.label for one in candidates))


def _folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders with images, and the names of those, sorted."""
    for folder in [root, *sorted(path for path in root.rglob("*") if path.is_dir())]:
        names = [path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
        kept = sorted(name for name in names if not is_hidden(name))
        if kept:
            yield folder, kept
