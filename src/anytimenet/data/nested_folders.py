"""Class folders within folders of coarser classes: the levels are how they are nested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from anytimenet.core.errors import DataError


@dataclass(frozen=True)
class ClassFolder:
    """A folder of the images of one class.

    Attributes:
        path: of the folder; its name is the class.
        coarser: names of the folders above it, from the nearest on.
    """

    path: Path
    coarser: tuple[str, ...] = ()


def find_class_folders(root: Path, is_image: Callable[[str], bool]) -> list[ClassFolder]:
    """The innermost folders under `root`, sorted by their path; names with a leading dot are left aside.

    Raises:
        DataError: if they are not equally deep and at least two deep, two share a name, or images lie beside
            folders.
    """
    found = sorted(_innermost(root, (), is_image), key=lambda folder: folder.path.parts)
    depths = {len(folder.coarser): folder for folder in found}
    if len(depths) > 1:
        shallow, deep = depths[min(depths)], depths[max(depths)]
        raise DataError(
            f"{shallow.path} lies {len(shallow.coarser) + 1} deep and {deep.path} {len(deep.coarser) + 1}: "
            "nest every class equally deep, with one more folder where a branch is short"
        )
    if set(depths) == {0}:
        raise DataError(
            f"the class folders of {root} are not nested: put each into a folder of its coarser class, or "
            "leave out that the taxonomy is nested"
        )
    first: dict[str, ClassFolder] = {}
    for folder in found:
        other = first.setdefault(folder.path.name, folder)
        if other is not folder:
            raise DataError(
                f"two class folders are called {folder.path.name!r}, {other.path} and {folder.path}: a class "
                "has one parent, so rename one of them or move its images into the other"
            )
    return found


def _innermost(
    folder: Path, above: tuple[str, ...], is_image: Callable[[str], bool]
) -> Iterator[ClassFolder]:
    """`above` are the names of the folders between the root and what `folder` holds, nearest first."""
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    folders = [entry for entry in entries if entry.is_dir()]
    loose = [entry for entry in entries if not entry.is_dir() and is_image(entry.name)]
    if above and folders and loose:
        raise DataError(
            f"{loose[0]} lies beside the folder {folders[0].name}/: in nested class folders every image "
            "needs an innermost folder, so make one for it"
        )
    for inner in folders:
        deeper = list(_innermost(inner, (inner.name, *above), is_image))
        yield from deeper or [ClassFolder(inner, above)]
