"""Data by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from anytimenet.core.checks import instance, path, words
from anytimenet.core.errors import DataError, suggest
from anytimenet.core.images.pretraining import Pretraining
from anytimenet.core.registered import unknown
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import DataSplits
from anytimenet.data.sources.folder import load_folder
from anytimenet.data.sources.masks import load_camvid, load_masks
from anytimenet.data.sources.named.catalogue import CATALOGUE
from anytimenet.data.sources.named.cifar import load_cifar10, load_cifar100
from anytimenet.data.sources.named.cub import load_cub
from anytimenet.data.sources.named.digits import load_digits
from anytimenet.data.sources.named.idx import load_fashion_mnist, load_mnist
from anytimenet.data.sources.named.imagenet import load_imagenet

_BY_NAME: dict[str, Callable[[DataOptions], DataSplits]] = {
    "digits": load_digits,
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "fashion_mnist": load_fashion_mnist,
    "mnist": load_mnist,
}
_BY_PATH: dict[str, Callable[[Path, DataOptions], DataSplits]] = {
    "folder": load_folder,
    "imagenet": load_imagenet,
    "cub": load_cub,
    "camvid": load_camvid,
    "masks": load_masks,
}


def load_data(
    name: str | os.PathLike[str],
    options: DataOptions | None = None,
    *,
    pretraining: Pretraining | None = None,
    **changes: Any,
) -> DataSplits:
    """Training, validation and test images of a data set by name.

    Args:
        name: "digits", "cifar10", "cifar100", "fashion_mnist", "mnist", "folder:PATH", "imagenet:PATH",
            "cub:PATH", "camvid:PATH" or "masks:PATH". The splits of imagenet and cub hold files instead of
            decoded images, those of the last two images with masks. A path such as `Path("pets")` means
            "folder:pets".
        options: how images are brought into shape and split.
        pretraining: of the net that the data is for, `net.pretraining`: what `options` leave open is as that
            net was trained, mean, std and channels, and of a folder the size of its images.
        changes: fields of `DataOptions` by name, in place of those of `options`: `image_size=32`.

    Raises:
        DataError: for an unknown name, or data that is missing or cannot be used.
        TypeError: for what is no name or path, and an unknown field.

    >>> splits = load_data("digits")
    >>> len(splits.train), len(splits.val), len(splits.test), splits.num_classes
    (1132, 126, 539, (10,))
    >>> load_data("digits", image_size=4, limit=100)
    DataSplits('digits': train 100, val 126, test 539; 4x4x1; 10 classes: '0', '1', '2', '3', '4', '5', ...)
    """
    name = _name(name)
    options = _options(options, changes)
    if pretraining is not None:
        instance(pretraining, Pretraining, "pretraining", "net.pretraining")
        options = options_for(name, options, pretraining)
    kind, colon, rest = name.partition(":")
    if options.val_fraction is None and kind in CATALOGUE:
        options = replace(options, val_fraction=CATALOGUE[kind].val_fraction)
    if options.ignore_index != "file" and not has_masks(name):
        raise DataError(f"ignore_index is for images with masks, and {name!r} has none: leave it out")
    if kind in _BY_NAME and not colon:
        return replace(_BY_NAME[kind](options), options=options)
    if kind in _BY_PATH:
        if not rest:
            raise DataError(f"{kind}: needs a path, for example {kind}:data/{_EXAMPLES[kind]}")
        return replace(_BY_PATH[kind](Path(rest), options), options=options)
    if "\0" not in name and Path(name).is_dir():
        raise DataError(f"{name!r} is a folder of this machine; write folder:{name}")
    raise DataError(f"unknown data {name!r}: {unknown(name, 'data', data_names())}")


def options_for(name: str, options: DataOptions, pretraining: Pretraining | None) -> DataOptions:
    """`options` of data by that name, with what they leave open as a net with trained weights expects it.

    >>> known = Pretraining((0.5,) * 3, (0.25,) * 3, 224, "nowhere")
    >>> options_for("folder:pets", DataOptions(), known).image_size
    224
    """
    if pretraining is None:
        return options
    found: dict[str, Any] = {}
    if options.standardise == "preset" and options.mean is None:
        found |= {"mean": pretraining.mean, "std": pretraining.std}
    if options.channels is None and not has_masks(name):
        found["channels"] = pretraining.channels
    if options.image_size is None and name.partition(":")[0] == "folder":
        found["image_size"] = pretraining.image_size
    return replace(options, **found)


def _real(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))


def _name(given: object) -> str:
    if isinstance(given, os.PathLike):
        given = f"folder:{path(given, 'name')}"
    return words(instance(given, str, "name", '"digits" or "folder:PATH"'), "name")


def _options(given: DataOptions | None, changes: dict[str, Any]) -> DataOptions:
    options = instance(
        DataOptions() if given is None else given, DataOptions, "options", "DataOptions(image_size=32)"
    )
    known = [field.name for field in fields(DataOptions)]
    for name in changes:
        if name not in known:
            raise TypeError(f"load_data has no argument {name!r}: {suggest(name, known)}")
    return replace(options, **changes)


_EXAMPLES = {
    "folder": "flowers",
    "imagenet": "imagenet",
    "cub": "CUB_200_2011",
    "camvid": "camvid",
    "masks": "streets",
}
_PUBLISHED = {*CATALOGUE, "camvid"}


def data_names() -> list[str]:
    """What `load_data` takes.

    >>> data_names()[:2]
    ['digits', 'cifar10']
    """
    return [*_BY_NAME, *(f"{kind}:PATH" for kind in _BY_PATH)]


def same_data(one: str, other: str) -> bool:
    """Whether two names mean the same images: one place in any spelling, or a published set wherever it lies.

    >>> same_data("cub:here", "cub:there"), same_data("folder:here", "folder:there")
    (True, False)
    >>> same_data("folder:here", "folder:./here/")
    True
    """
    (kind, _, here), (other_kind, _, there) = one.partition(":"), other.partition(":")
    if one == other or kind != other_kind:
        return one == other
    return kind in _PUBLISHED or _real(here) == _real(there)


def names_a_path(name: str) -> bool:
    """Whether data of that name lies at a path that the name says.

    >>> names_a_path("folder:pets"), names_a_path("digits")
    (True, False)
    """
    return ":" in name


def reads_whole(name: str) -> bool:
    """Whether data of that name is a folder of a person's own, which `read_whole` reads.

    >>> reads_whole("folder:pets"), reads_whole("cub:here")
    (True, False)
    """
    return name.partition(":")[0] in ("folder", "masks", "camvid")


def has_masks(name: str) -> bool:
    """Whether data of that name has a mask for each image instead of a label.

    >>> has_masks("camvid:here"), has_masks("digits")
    (True, False)
    """
    return name.partition(":")[0] in ("camvid", "masks")


def describe_data() -> list[dict[str, Any]]:
    """Name, summary, classes of each level, counts of images, size and source of each data set by name.

    Counts are None where they depend on a folder.

    >>> describe_data()[1]["name"], describe_data()[1]["held_out"]
    ('cifar10', 5000)
    """
    return [_described(name) for name in data_names()]


def _described(name: str) -> dict[str, Any]:
    keys = ("summary", "classes", "train_images", "held_out", "test_images", "image_size", "page")
    if (kind := name.partition(":")[0]) in CATALOGUE:
        return {"name": name, **{key: getattr(CATALOGUE[kind], key) for key in keys}}
    return {"name": name, **dict.fromkeys(keys), **_OTHERS[kind]}


_OTHERS: dict[str, dict[str, Any]] = {
    "digits": {
        "summary": "8x8 grey handwritten digits that ship inside scikit-learn",
        "classes": (10,),
        "train_images": 1258,
        "held_out": 126,
        "test_images": 539,
        "image_size": 8,
        "page": "https://archive.ics.uci.edu/dataset/80",
    },
    "folder": {"summary": "a folder of your own: PATH/CLASS/IMAGE, or PATH/{train,val,test}/CLASS/IMAGE"},
    "camvid": {
        "summary": "480x360 road scenes with a class for every pixel, CamVid (Brostow et al. 2008)",
        "classes": (11,),
        "train_images": 367,
        "held_out": 101,
        "test_images": 233,
        "page": "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/",
    },
    "masks": {"summary": "images with masks of your own: PATH/{train,val,test}/{images,masks}, classes.json"},
}
