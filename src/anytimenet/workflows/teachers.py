"""A trained net that others learn from."""

from __future__ import annotations

import hashlib
from pathlib import Path

from anytimenet.bundle import Bundle
from anytimenet.data import DataSplits
from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.teacher import Teacher
from anytimenet.workflows.choosing_task import gives_label_maps


def teacher_net(teacher: AnytimeNet | Bundle | Path | str | None, splits: DataSplits) -> Teacher | None:
    """What learners ask; a teacher from a bundle must know the classes of the data and read the same input.

    Raises:
        BundleError: if there is no such bundle.
        ValueError: if the bundle knows other classes, or brings images into another shape; if the teacher
            is for segmentation and the data has one label an image, or the other way round.
    """
    if teacher is None:
        return None
    read = splits.preprocessing
    if isinstance(teacher, AnytimeNet):
        net = teacher
    else:
        bundle = teacher if isinstance(teacher, Bundle) else Bundle.load(teacher)
        _check_bundle(bundle, splits)
        net, read = bundle.net, bundle.manifest.preprocessing
    masks = splits.mask_classes is not None
    # A net of other channels cannot be asked: the scheme that would learn from it says so.
    if net.in_channels == splits.preprocessing.channels and gives_label_maps(net, splits) != masks:
        gives, needed = (
            ("one label an image", "a mask") if masks else ("a label for every pixel", "one label")
        )
        raise ValueError(
            f"the teacher gives {gives} and {splits.name} has {needed} for each image: take a teacher that "
            "was trained on such data"
        )
    given = splits.preprocessing
    if read == given:
        return Teacher(net)
    scale = [a / b for a, b in zip(given.std, read.std, strict=True)]
    shift = [(a - b) / c for a, b, c in zip(given.mean, read.mean, read.std, strict=True)]
    return Teacher(net, scale, shift)


def teacher_identity(teacher: Teacher) -> str:
    """A digest of the teacher's weights, which tells one run from another when it is resumed."""
    digest = hashlib.sha256()
    for name, tensor in teacher.tensors.items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _check_bundle(bundle: Bundle, splits: DataSplits) -> None:
    theirs, ours = bundle.manifest, splits
    if theirs.class_names != ours.class_names:
        raise ValueError(
            f"the teacher knows {_count(theirs.class_names)} classes and the data has "
            f"{_count(ours.class_names)}, or their names differ: take a teacher that was trained on these"
        )
    one, other = theirs.preprocessing.to_dict(), ours.preprocessing.to_dict()
    differing = [name for name in one if name not in ("mean", "std") and one[name] != other[name]]
    if differing:
        name = differing[0]
        raise ValueError(
            f"the teacher reads images with {name} {one[name]} and the data has {other[name]}: train one of "
            f"the two with the other's {name}"
        )


def _count(class_names: tuple[tuple[str, ...], ...]) -> str:
    return " + ".join(str(len(level)) for level in class_names)
