"""The loader that fits the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_args

from anytimenet.core.checks import choice
from anytimenet.core.errors import DataError
from anytimenet.core.images.augmentation import BatchAugmentation, FileAugmentation
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.records import as_json, from_json
from anytimenet.data.augment.large_images import LargeImageAugmentation
from anytimenet.data.augment.masks import MaskAugmentation
from anytimenet.data.augment.mixing import Mixing
from anytimenet.data.augment.small_images import Augmentation
from anytimenet.data.batches.loader import Loader
from anytimenet.data.batches.sharding import WHOLE, Shard
from anytimenet.data.batches.stream import StreamLoader
from anytimenet.data.reading.decoding import available_cores
from anytimenet.data.sets.image_set import ImageFiles, ImageSet, MaskSet

if TYPE_CHECKING:
    import torch

AnyAugmentation = Augmentation | LargeImageAugmentation | MaskAugmentation

_MOST_WORKERS = 8


def make_loader(
    images: ImageSet | ImageFiles | MaskSet,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    augmentation: BatchAugmentation | FileAugmentation | None = None,
    mixing: Mixing | None = None,
    num_classes: tuple[int, ...] = (),
    shuffle: bool = False,
    seed: int = 0,
    workers: int | None = 0,
    device: str | torch.device = "cpu",
    drop_last: bool = False,
    shard: Shard = WHOLE,
) -> Loader | StreamLoader:
    """A `Loader` of images in memory, or a `StreamLoader` of files; the arguments are theirs.

    Args:
        augmentation: `Augmentation` for images in memory, `LargeImageAugmentation` for those and for files,
            `MaskAugmentation` for images with masks.
        workers: processes that decode files, images in memory need none; None takes the cores of this
            machine over the processes of `shard`, 8 at most.

    Raises:
        DataError: if the augmentation is not for such images, and for what the loaders refuse.

    >>> import numpy as np
    >>> images = ImageSet(np.zeros((4, 2, 2, 1), np.uint8), np.zeros((4, 1), np.int64), tuple("abcd"))
    >>> type(make_loader(images, Preprocessing(2, 2, 1, (0.5,), (0.5,)), batch_size=2)).__name__
    'Loader'
    """
    if workers is not None and workers < 0:
        raise DataError(f"workers must be 0 or more processes, got {workers}")
    if isinstance(images, ImageSet | MaskSet):
        _check_masks(images, augmentation)
        if augmentation is not None and not isinstance(augmentation, BatchAugmentation):
            raise DataError(
                f"{type(augmentation).__name__} is for images that are read from files, and these are in "
                "memory: use Augmentation or LargeImageAugmentation"
            )
        return Loader(
            images,
            preprocessing,
            batch_size=batch_size,
            augment=augmentation,
            mixing=mixing,
            num_classes=num_classes,
            shuffle=shuffle,
            seed=seed,
            device=device,
            drop_last=drop_last,
            shard=shard,
        )
    if augmentation is not None and not isinstance(augmentation, FileAugmentation):
        raise DataError(
            f"{type(augmentation).__name__} is for images in memory, and these are read from files: "
            "use LargeImageAugmentation"
        )
    return StreamLoader(
        images,
        preprocessing,
        batch_size=batch_size,
        transform=augmentation,
        mixing=mixing,
        num_classes=num_classes,
        shuffle=shuffle,
        seed=seed,
        workers=_workers(shard) if workers is None else workers,
        device=device,
        drop_last=drop_last,
        shard=shard,
    )


def augmentation_for(
    images: ImageSet | ImageFiles | MaskSet, augmentation: AnyAugmentation
) -> AnyAugmentation:
    """`augmentation`, or what takes its place where images are read from files, or have masks.

    For files an `Augmentation` becomes a `LargeImageAugmentation` of the same flip and cutout: the random
    resized crop moves images more than any padding. For masks it becomes a `MaskAugmentation` of the same
    flip and pad.

    Raises:
        DataError: for a cutout of images with masks.

    >>> import numpy as np
    >>> from pathlib import Path
    >>> files = ImageFiles(Path("photos"), np.array([[0]]), ("cat/1.jpg",))
    >>> augmentation_for(files, Augmentation(flip=False, pad=4)).flip
    False
    """
    if isinstance(images, ImageFiles) and isinstance(augmentation, Augmentation):
        return LargeImageAugmentation(flip=augmentation.flip, cutout=augmentation.cutout)
    if isinstance(images, MaskSet) and isinstance(augmentation, Augmentation):
        if augmentation.cutout:
            raise DataError("cutout is for labels of whole images, and these have masks: leave it out")
        return MaskAugmentation(flip=augmentation.flip, pad=augmentation.pad)
    return augmentation


def augmentation_to_dict(augmentation: AnyAugmentation | None) -> dict[str, Any] | None:
    """The class and the fields of an augmentation as JSON values; None for none.

    >>> augmentation_to_dict(Augmentation(pad=2))
    {'class': 'Augmentation', 'flip': True, 'pad': 2, 'cutout': 0}
    """
    return None if augmentation is None else {"class": type(augmentation).__name__, **as_json(augmentation)}


def augmentation_from(values: Mapping[str, Any] | None) -> AnyAugmentation | None:
    """The reverse of `augmentation_to_dict`; of notes from before they told the class, their fields do.

    Raises:
        TypeError, ValueError: for values that are no augmentation of this version.

    >>> augmentation_from({"flip": False, "pad": 2, "cutout": 0})
    Augmentation(flip=False, pad=2, cutout=0)
    """
    if values is None:
        return None
    kinds = {kind.__name__: kind for kind in get_args(AnyAugmentation)}
    before = "LargeImage" if "area" in values else "Mask" if "scale" in values else ""
    name = choice(values.get("class", f"{before}Augmentation"), "the augmentation", kinds)
    found: AnyAugmentation = from_json(kinds[name], {k: v for k, v in values.items() if k != "class"})
    return found


def _check_masks(images: ImageSet | MaskSet, augmentation: object) -> None:
    """An augmentation that moves an image must move its mask, and one for masks needs some."""
    if isinstance(images, MaskSet) and isinstance(augmentation, Augmentation | LargeImageAugmentation):
        raise DataError(
            f"{type(augmentation).__name__} moves images and not their masks: use "
            "MaskAugmentation(flip=..., pad=...)"
        )
    if isinstance(images, ImageSet) and isinstance(augmentation, MaskAugmentation):
        raise DataError(
            "MaskAugmentation is for images with masks, and these have labels of whole images: "
            "use Augmentation(flip=..., pad=...)"
        )


def _workers(shard: Shard) -> int:
    return min(_MOST_WORKERS, available_cores() // shard.count)
