"""Folders of images with a mask each, for semantic segmentation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images.formats import IMAGE_SUFFIXES
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.data.reading.cache import decode_once
from anytimenet.data.reading.decoding import Decoded, decode_all
from anytimenet.data.sets.image_set import MaskSet
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.splits import DataSplits, make_mask_splits
from anytimenet.data.sources.image_folders import Folder, ImageFolders, stamp
from anytimenet.data.sources.mask_files import (
    CLASSES_NAME,
    fit_mask,
    read_mask,
    read_mask_classes,
    upright_size,
    with_binary_values,
)
from anytimenet.data.sources.nested_folders import WHOLE, find_part_folders


def load_masks(root: Path, options: DataOptions, kind: str = "masks") -> DataSplits:
    """Images and masks under `root/{train,val,test}/{images,masks}/`, or under `root/{images,masks}/` alone.

    `images/STEM.jpg` goes with `masks/STEM.png`, which holds one class id a pixel in one channel, and both
    have one size. `root/classes.json` is a list of class names, or an object of `class_names`,
    `ignore_index` and `palette`: the place of a name is the pixel value of its class, and the name at
    `ignore_index`, if there is one, is no class; without that key it is 255, and `options.ignore_index` goes
    before both. Two classes of which none is ignored may also be written as 0 and 255. Images are resized as
    `options` say, masks with them by nearest pixels. What has no `val` or `test` part gets one as class
    folders do.

    Raises:
        DataError: if a folder or file is missing, an image has no mask or a mask no image, sizes differ, or a
            mask holds a value that is no class.
    """
    found = read_mask_folders(root, options, kind, to_train=True)
    splits = make_mask_splits(
        f"{kind}:{root.expanduser()}",
        found.parts,
        found.classes,
        options,
        skipped=found.skipped,
        ignored_by_default=found.ignored_by_default,
    )
    return replace(splits, left_aside=found.left_aside)


@dataclass(frozen=True, eq=False)
class MaskFolders:
    """What folders of images and masks hold.

    Attributes:
        parts: images and masks of "train", "val" and "test", as far as they are there; without parts all are
            of "train" if they were read to train, else of `WHOLE`.
        classes: what the pixels of masks mean.
        skipped: images that could not be read.
        ignored_by_default: whether nothing says which pixel value is ignored.
        left_aside: how much of what was not read.
    """

    parts: dict[str, MaskSet]
    classes: MaskClasses
    skipped: int
    ignored_by_default: bool
    left_aside: dict[str, int]


def read_mask_folders(
    root: Path, options: DataOptions, kind: str = "masks", *, to_train: bool = False
) -> MaskFolders:
    """Images and masks as they lie in a folder; `load_masks` says how, and what is raised."""
    root = root.expanduser()
    _check_options(options)
    if not root.is_dir():
        raise DataError(f"the folder {root} does not exist; check the path after {kind}:")
    classes, ignored_by_default = read_mask_classes(root / CLASSES_NAME, options.ignore_index)
    try:
        folders = find_part_folders(root, to_train=to_train)
        tree = ImageFolders(root, folders.values() or [root])
        if not folders and not (root / "images").is_dir():
            raise DataError(
                f"{root} holds neither train/images and train/masks nor images and masks; give a folder that "
                "does"
            )
        folders = folders or {"train" if to_train else WHOLE: root}
        pairs = [pair for part, folder in folders.items() for pair in _pairs(root, folder, part, tree)]
    except OSError as error:
        raise DataError(f"{root} cannot be listed: {error}") from error
    tree.aside.tell(root)
    classes = with_binary_values(classes, (root / pair.mask for pair in pairs))
    listing = [(pair.part, *stamp(root / pair.image), *stamp(root / pair.mask)) for pair in pairs]
    names = [pair.image for pair in pairs]
    images = decode_once(
        f"{kind}-images",
        str(root.resolve()),
        [names, listing],
        options,
        lambda: decode_all(lambda i: root / names[i], names, options),
    )
    good = [pairs[i] for i in images.good]
    masks = decode_once(
        f"{kind}-masks",
        str(root.resolve()),
        [[pair.image for pair in good], listing, classes.to_dict()],
        options,
        lambda: _decode_masks(root, good, classes, options),
    )
    parts, start = {}, 0
    for part in folders:
        run = [pair.image for pair in good if pair.part == part]
        places = slice(start, start := start + len(run))
        if run:
            parts[part] = MaskSet(images.images[places], masks.images[places, :, :, 0], tuple(run))
    for part in sorted({pair.part for pair in pairs} - set(parts)):
        raise DataError(f"no image of the {part} part can be read; replace its images or remove the folder")
    return MaskFolders(parts, classes, len(images.bad), ignored_by_default, tree.aside.counts)


def load_camvid(root: Path, options: DataOptions) -> DataSplits:
    """CamVid (Brostow et al. 2008) in the same layout, so that a bundle knows it wherever it lies."""
    return load_masks(root, options, "camvid")


@dataclass(frozen=True)
class _Pair:
    """An image and its mask, relative to the root, with forward slashes."""

    part: str
    image: str
    mask: str


def _check_options(options: DataOptions) -> None:
    for name, given in (
        ("images_per_class", options.images_per_class is not None),
        ("taxonomy", options.all_levels),
    ):
        if given:
            raise DataError(f"{name} is for labels of whole images, and these have masks: leave it out")


def _pairs(root: Path, folder: Path, part: str, tree: ImageFolders) -> list[_Pair]:
    images = _by_stem(folder / "images", tree)
    masks = _by_stem(folder / "masks", tree, ".png")
    for stem in sorted(set(images) ^ set(masks)):
        found, lacking = (
            (images[stem], folder / "masks" / f"{stem}.png")
            if stem in images
            else (masks[stem], folder / "images" / f"{stem}.*")
        )
        raise DataError(
            f"{found} has no partner {lacking}: every image needs one mask of its name; add it, or remove "
            "the file"
        )
    if not images:
        raise DataError(f"{folder / 'images'} holds no images ({', '.join(IMAGE_SUFFIXES)}); add some")
    for stem in sorted(images):
        tree.take(str(images[stem]), (part, stem))  # the same image under two names is refused
    relative = {
        stem: (images[stem].relative_to(root), masks[stem].relative_to(root)) for stem in sorted(images)
    }
    return [_Pair(part, image.as_posix(), mask.as_posix()) for image, mask in relative.values()]


def _by_stem(folder: Path, tree: ImageFolders, suffix: str | None = None) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: images/ and masks/ belong side by side")
    found: dict[str, Path] = {}
    for path in map(Path, tree.images_in(Folder(folder))):
        if suffix is not None and path.suffix.lower() != suffix:
            tree.aside.add_file(path.name, path)
        elif path.stem in found:
            raise DataError(f"{found[path.stem]} and {path} have one name: keep one of them")
        else:
            found[path.stem] = path
    return found


def _decode_masks(root: Path, pairs: list[_Pair], classes: MaskClasses, options: DataOptions) -> Decoded:
    def read(index: int) -> np.ndarray:
        pair = pairs[index]
        mask = read_mask(root / pair.mask, classes)
        size = upright_size(root / pair.image)
        if mask.shape != size:
            raise DataError(
                f"{root / pair.mask} is {mask.shape[1]}x{mask.shape[0]} and {root / pair.image} is "
                f"{size[1]}x{size[0]} (width x height): give both one size"
            )
        return fit_mask(mask, options)

    # The masks come out of `read` in their last size.
    plain = replace(options, image_size=None, shorter_side=None, channels=1, skip_bad=False)
    return decode_all(read, [pair.mask for pair in pairs], plain)
