"""How class folders lie: in the parts train, val and test, and within folders of coarser classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anytimenet.core.errors import DataError
from anytimenet.data.sources.image_folders import Folder, ImageFolders


@dataclass(frozen=True)
class ClassFolder:
    """A folder of the images of one class.

    Attributes:
        folder: where they are; its name is the class.
        coarser: names of the folders above it, from the nearest on.
    """

    folder: Folder
    coarser: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """Of the folder."""
        return self.folder.path


def find_class_folders(root: Path, tree: ImageFolders) -> list[ClassFolder]:
    """The innermost folders under `root`, sorted by their path.

    Raises:
        DataError: if they are not equally deep and at least two deep, two share a name, or images lie beside
            folders.
    """
    found = sorted(_innermost(Folder(root), (), tree), key=lambda folder: folder.path.parts)
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


def _innermost(folder: Folder, above: tuple[str, ...], tree: ImageFolders) -> Iterator[ClassFolder]:
    """`above` are the names of the folders between the root and what `folder` holds, nearest first."""
    folders, loose = tree.look(folder)
    if above and folders and loose:
        raise DataError(
            f"{loose[0]} lies beside the folder {folders[0].name}/: in nested class folders every image "
            "needs an innermost folder, so make one for it"
        )
    for inner in folders:
        deeper = list(_innermost(inner, (inner.name, *above), tree))
        yield from deeper or [ClassFolder(inner, above)]


WHOLE = "all"
"""The one part of a folder that has none."""

PART_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def find_part_folders(root: Path, *, to_train: bool = True) -> dict[str, Path]:
    """The folder of each part in `root`, whatever the case of its name; none where `root` has no parts.

    Raises:
        DataError: if a part is there twice, or others are without train where it is needed `to_train`.
    """
    folders = [entry for entry in sorted(root.iterdir()) if entry.is_dir()]
    found: dict[str, Path] = {}
    for part, names in PART_NAMES.items():
        same = [folder for folder in folders if folder.name.lower() in names]
        if len(same) > 1:
            raise DataError(f"{root} holds {same[0].name}/ and {same[1].name}/; keep one of them as {part}/")
        if same:
            found[part] = same[0]
    if to_train and found and "train" not in found:
        other = next(iter(found.values())).name
        raise DataError(f"{root} holds {other}/ but no train/; add one, or rename {other}/ if it is no part")
    return found
