"""The folders of the train, val and test parts, under the names that people give them."""

from __future__ import annotations

from pathlib import Path

from anytimenet.core.errors import DataError

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
