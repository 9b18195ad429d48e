"""Images that a bundle was trained on, known again in other data and left out of what it is evaluated on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from anytimenet.bundle import Bundle
from anytimenet.core.errors import DataError
from anytimenet.data import ImageFiles, Images, ImageSet, MaskSet, image_prints

_log = logging.getLogger(__name__)


def held_out(bundle: Bundle, images: Images | MaskSet, split: str, what: str) -> Images | MaskSet:
    """`images` without those that may not be evaluated as `split`, and how many those are in the log.

    For "val" and "test" that are images that the bundle was trained on, for "test" also those that chose its
    weights. What was held out in its training stays, and so does everything for "train", and where the bundle
    does not know its images.

    Args:
        split: "train", "val" or "test"; for "all", a data set that somebody gave, what chose may stay.
        what: the images, for messages.

    Raises:
        DataError: if nothing is left.
    """
    seen = bundle.seen
    prints = None if split == "train" else prints_for(bundle, images, what)
    if prints is None or seen is None:
        return images
    kept_for = ("val", "test") if split == "all" else (split,)
    stays = np.any([seen.of(part, prints) for part in kept_for], axis=0)
    learnt = seen.of("train", prints) & ~stays
    chose = seen.of("val", prints) & ~stays & ~learnt if split == "test" else np.zeros_like(learnt)
    out = learnt | chose
    if not out.any():
        return images
    left_out = [
        f"{count} {words}"
        for count, words in (
            (int(learnt.sum()), "that the bundle was trained on"),
            (int(chose.sum()), "that its weights were chosen by"),
        )
        if count
    ]
    if out.all():
        raise DataError(
            f"{what} holds no image to evaluate: of its {len(images)} there are {' and '.join(left_out)}; "
            "give images that were held out, or split='train' to evaluate those of the training"
        )
    _log.warning("%s: %s of %d images are left out", what, " and ".join(left_out), len(images))
    return images.subset(np.flatnonzero(~out))


def known_from(bundle: Bundle, images: Images | MaskSet, split: str, what: str) -> Images | MaskSet:
    """Those of `images` that were in that part of the bundle's own data."""
    prints = prints_for(bundle, images, what)
    if prints is None or bundle.seen is None:
        return images.subset([])
    return images.subset(np.flatnonzero(bundle.seen.of(split, prints)))


def together(parts: Sequence[Images | MaskSet]) -> Images | MaskSet:
    """Images of one kind as one."""
    first = parts[0]
    if len(parts) == 1:
        return first
    names = tuple(name for part in parts for name in part.names)
    labels = np.concatenate([part.labels for part in parts])
    if isinstance(first, ImageFiles):
        return ImageFiles(first.root, labels, names)
    pixels = np.concatenate([part.images for part in parts if not isinstance(part, ImageFiles)])
    return ImageSet(pixels, labels, names) if isinstance(first, ImageSet) else MaskSet(pixels, labels, names)


def prints_for(bundle: Bundle, images: Images | MaskSet, what: str) -> np.ndarray | None:
    """Fingerprints of `images` as the bundle has them; None where it has none, or they have none such."""
    if bundle.seen is None or not len(images):
        return None
    kind = bundle.seen.kind
    if kind == "files" and not isinstance(images, ImageFiles):
        # Images of a folder are called by their files there, whether or not they are in memory.
        _, colon, root = what.partition(":")
        files = ImageFiles(Path(root).expanduser(), np.zeros((len(images), 1), np.int64), images.names)
        if not colon or not all(files.path(i).is_file() for i in range(len(files))):
            _log.warning(
                "the bundle knows the images of its training by their files, and those of %s are in memory: "
                "whether it was trained on some of them cannot be told",
                what,
            )
            return None
        return image_prints(files, kind, bundle.manifest.preprocessing)
    p = bundle.manifest.preprocessing
    if not isinstance(images, ImageFiles) and images.images.shape[1:] != (p.height, p.width, p.channels):
        return None  # refused where they are read
    return image_prints(images, kind, p)
