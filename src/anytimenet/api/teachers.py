"""A trained net that others learn from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from anytimenet.bundle import Bundle
from anytimenet.data import DataSplits
from anytimenet.nets.contract import AnytimeNet


def teacher_net(teacher: AnytimeNet | Bundle | Path | str | None, splits: DataSplits) -> AnytimeNet | None:
    """The net of `teacher`; one from a bundle must know the classes of the data and read the same input.

    Raises:
        BundleError: if there is no such bundle.
        ValueError: if the bundle knows other classes, or prepares images otherwise.
    """
    if teacher is None or isinstance(teacher, AnytimeNet):
        return teacher
    bundle = teacher if isinstance(teacher, Bundle) else Bundle.load(teacher)
    theirs, ours = bundle.manifest, splits
    if theirs.class_names != ours.class_names:
        raise ValueError(
            f"the teacher knows {_count(theirs.class_names)} classes and the data has "
            f"{_count(ours.class_names)}, or their names differ: take a teacher that was trained on these"
        )
    if theirs.preprocessing != ours.preprocessing:
        raise ValueError(
            f"the teacher reads images prepared otherwise ({theirs.preprocessing}, here "
            f"{ours.preprocessing}): train it with the same image size, channels, filter and standardisation"
        )
    return bundle.net


def teacher_identity(teacher: AnytimeNet) -> str:
    """A digest of the teacher's weights, which tells one run from another when it is resumed."""
    digest = hashlib.sha256()
    for name, tensor in teacher.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _count(class_names: tuple[tuple[str, ...], ...]) -> str:
    return " + ".join(str(len(level)) for level in class_names)
