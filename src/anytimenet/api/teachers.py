"""A trained net that others learn from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from anytimenet.api.choosing_task import labels_pixels
from anytimenet.bundle import Bundle
from anytimenet.data import DataSplits
from anytimenet.nets.contract import AnytimeNet


def teacher_net(teacher: AnytimeNet | Bundle | Path | str | None, splits: DataSplits) -> AnytimeNet | None:
    """The net of `teacher`; one from a bundle must know the classes of the data and read the same input.

    Raises:
        BundleError: if there is no such bundle.
        ValueError: if the bundle knows other classes, or prepares images otherwise; if the teacher labels
            pixels and the data has one label an image, or the other way round.
    """
    if teacher is None:
        return None
    net = teacher if isinstance(teacher, AnytimeNet) else _checked(teacher, splits)
    masks = splits.mask_classes is not None
    # A net of other channels cannot be asked: the scheme that would learn from it says so.
    if net.in_channels == splits.preprocessing.channels and labels_pixels(net, splits) != masks:
        gives, needed = (
            ("one label an image", "a mask") if masks else ("a label for every pixel", "one label")
        )
        raise ValueError(
            f"the teacher gives {gives} and {splits.name} has {needed} for each image: take a teacher that "
            "was trained on such data"
        )
    return net


def teacher_identity(teacher: AnytimeNet) -> str:
    """A digest of the teacher's weights, which tells one run from another when it is resumed."""
    digest = hashlib.sha256()
    for name, tensor in teacher.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _checked(teacher: Bundle | Path | str, splits: DataSplits) -> AnytimeNet:
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


def _count(class_names: tuple[tuple[str, ...], ...]) -> str:
    return " + ".join(str(len(level)) for level in class_names)
