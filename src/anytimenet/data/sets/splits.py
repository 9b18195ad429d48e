"""Training, validation and test images of one experiment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.images.pretraining import Pretraining
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.data.sets.channel_statistics import channel_statistics, preprocessing_by
from anytimenet.data.sets.dividing import divide
from anytimenet.data.sets.image_set import AnyImages, ImageFiles, Images, MaskSet
from anytimenet.data.sets.options import DataOptions
from anytimenet.data.sets.stratify import draw_limit, draw_part, draw_per_class
from anytimenet.data.sets.taught import check_taught, check_taught_pixels
from anytimenet.data.sets.taxonomies import chosen_taxonomy

Some = TypeVar("Some", bound=AnyImages)
VAL_FRACTION = 0.1
_SHOWN = 6  # names of classes


@dataclass(frozen=True, eq=False, repr=False)
class DataSplits:
    """The three disjoint parts of a data set, and what a net must know about them.

    Attributes:
        name: how the data was asked for.
        train, val, test: validation selects, test is only ever measured; decoded, or files that are
            decoded when they are needed; for segmentation images with masks.
        class_names: names of the classes of each label level, fine level first.
        taxonomy: the tree of classes if the data has one; kept whether or not labels use its levels.
        preprocessing: how these images were decoded, with the mean and std that the input is standardised by.
        fingerprint: SHA-256 of classes, preprocessing and every image (of files: name and size) and label
            of the three parts.
        skipped: images left out because they could not be read.
        options: with these, `load_data(name, options)` gives the same splits again; None where no name does.
        mask_classes: what the pixels of masks mean; None where labels are of whole images.
        left_aside: how many files and folders of each kind were not read, by suffix or reason.
    """

    name: str
    train: AnyImages
    val: AnyImages
    test: AnyImages
    class_names: tuple[tuple[str, ...], ...]
    taxonomy: Taxonomy | None
    preprocessing: Preprocessing
    fingerprint: str
    skipped: int
    options: DataOptions | None = None
    mask_classes: MaskClasses | None = None
    left_aside: Mapping[str, int] = field(default_factory=dict)

    @property
    def num_classes(self) -> tuple[int, ...]:
        """How many classes each label level has, fine level first."""
        return tuple(len(names) for names in self.class_names)

    def suited_to(self, pretraining: Pretraining) -> DataSplits:
        """The same images, standardised as a net expects them that comes with trained weights.

        Where mean and std were chosen by whoever loaded them, these splits as they are.
        """
        p, chosen = self.preprocessing, self.options
        own = chosen is not None and (chosen.standardise != "preset" or chosen.mean is not None)
        if own or p.channels != pretraining.channels:  # of other channels the net says so itself
            return self
        preprocessing = replace(p, mean=pretraining.mean, std=pretraining.std)
        return replace(
            self,
            preprocessing=preprocessing,
            fingerprint=_fingerprint(self.class_names, preprocessing, (self.train, self.val, self.test)),
            options=None
            if chosen is None
            else replace(chosen, mean=pretraining.mean, std=pretraining.std, channels=p.channels),
        )

    def __repr__(self) -> str:
        """Name, sizes, shape and classes in one line."""
        p = self.preprocessing
        counts = ", ".join(f"{part} {len(getattr(self, part))}" for part in ("train", "val", "test"))
        levels = " and ".join(map(str, self.num_classes))
        first = ", ".join(map(repr, self.class_names[0][:_SHOWN]))
        more = ", ..." if len(self.class_names[0]) > _SHOWN else ""
        shape = f"{p.height}x{p.width}x{p.channels}"
        return f"DataSplits({self.name!r}: {counts}; {shape}; {levels} classes: {first}{more})"


def make_splits(
    name: str,
    parts: Mapping[str, Images],
    names: Sequence[Sequence[str]],
    options: DataOptions,
    *,
    taxonomy: Taxonomy | None = None,
    preprocessing: Preprocessing | Callable[[Images], Preprocessing] | None = None,
    skipped: int = 0,
) -> DataSplits:
    """Splits of `parts`, which holds `train` and perhaps `val` and `test`; the rest comes out of `train`.

    The parts are taken over: their pixels are moved where they lie, so that there is no second copy. A
    missing test part is drawn first, with `options.split_seed` alone; a missing validation part then with
    `options.seed`, and last the images that `options.images_per_class` and `options.limit` keep.

    Args:
        preprocessing: how the images are decoded and standardised, or what says so of the training part; None
            takes size, mean and std of the training images, which must then be in memory.

    Raises:
        DataError: if there are too few images or classes, or levels are asked for without a taxonomy.
    """
    class_names = tuple(tuple(level) for level in names)
    taxonomy = chosen_taxonomy(options.taxonomy, class_names[0], taxonomy)
    _check_taxonomy(class_names, taxonomy)
    train, val, test = _divided(parts, options, class_names[0])
    if options.all_levels and train.labels.shape[1] == 1:
        train, val, test = (_lift(part, taxonomy) for part in (train, val, test))
        class_names = taxonomy.levels if taxonomy else class_names
    check_taught(class_names, train.labels, {"val": val.labels, "test": test.labels})
    if preprocessing is None:
        preprocessing = _preprocessing(train, options)
    elif not isinstance(preprocessing, Preprocessing):
        preprocessing = preprocessing(train)
    fingerprint = _fingerprint(class_names, preprocessing, (train, val, test))
    return DataSplits(name, train, val, test, class_names, taxonomy, preprocessing, fingerprint, skipped)


def make_mask_splits(
    name: str,
    parts: Mapping[str, MaskSet],
    classes: MaskClasses,
    options: DataOptions,
    *,
    skipped: int = 0,
    ignored_by_default: bool = False,
) -> DataSplits:
    """The same for images with masks.

    An image has many classes, so parts are drawn by a hash of the names and by no class.

    Raises:
        DataError: if there are too few images, or the training masks cannot teach the classes; see
            `taught.check_taught_pixels`.
    """
    train, val, test = _divided(parts, options)
    evaluated = {"val": val.masks, "test": test.masks}
    check_taught_pixels(classes, train.masks, evaluated, ignored_by_default=ignored_by_default)
    preprocessing, names = _preprocessing(train, options), (classes.names,)
    fingerprint = _fingerprint(names, preprocessing, (train, val, test))
    return DataSplits(
        *(name, train, val, test, names, None, preprocessing, fingerprint, skipped), mask_classes=classes
    )


def _divided(
    parts: Mapping[str, Some], options: DataOptions, names: tuple[str, ...] | None = None
) -> tuple[Some, Some, Some]:
    """Training, validation and test part: those that are missing are drawn out of the first.

    Args:
        names: of the fine classes of labels, of which train must have those of the other parts.
    """
    whole, given = parts["train"], {part: parts[part] for part in ("val", "test") if part in parts}
    left, drawn = np.arange(len(whole)), {}
    if "test" not in given:
        left, drawn["test"] = _draw(whole, left, options.test_fraction, options.split_seed, "test")
    if "val" not in given:
        fraction = VAL_FRACTION if options.val_fraction is None else options.val_fraction
        left, drawn["val"] = _draw(whole, left, fraction, options.seed, "val")
    if names is not None:
        labels = {part: images.labels for part, images in given.items()}
        labels |= {part: whole.labels[rows] for part, rows in drawn.items()}
        _check_classes(names, whole.labels[left], labels)
    train, *others = divide(whole, [_limited(whole, left, options), *drawn.values()])
    given |= dict(zip(drawn, others, strict=True))
    return train, given["val"], given["test"]


def _draw(
    images: AnyImages, rows: np.ndarray, fraction: float, seed: int, purpose: str
) -> tuple[np.ndarray, np.ndarray]:
    """The `rows` that stay and those that are drawn for a part; of images with masks by no class."""
    if not fraction:
        return rows, rows[:0]
    drawn = draw_part(_classes(images, rows), [images.names[i] for i in rows], fraction, seed, purpose)
    return rows[~drawn], rows[drawn]


def _limited(images: AnyImages, rows: np.ndarray, options: DataOptions) -> np.ndarray:
    """The `rows` that the limits of `options` keep, drawn by class; of images with masks by no class."""
    if options.images_per_class is not None:
        names = [images.names[i] for i in rows]
        kept = draw_per_class(_classes(images, rows), names, options.images_per_class, options.seed)
        rows = rows[kept]
    if options.limit is not None and options.limit < len(rows):
        names = [images.names[i] for i in rows]
        rows = rows[draw_limit(_classes(images, rows), names, options.limit, options.seed)]
    return rows


def _classes(images: AnyImages, rows: np.ndarray) -> np.ndarray:
    """What shares are kept of: fine classes, or one class where every image has many."""
    return np.zeros(len(rows), np.int64) if isinstance(images, MaskSet) else images.labels[rows, 0]


def _check_classes(names: tuple[str, ...], train: np.ndarray, others: dict[str, np.ndarray]) -> None:
    if len(names) < 2:
        raise DataError(f"there is one class only ({names[0]!r}); add images of a second one")
    present = set(train[:, 0].tolist())
    for part, labels in others.items():
        lacking = sorted(set(labels[:, 0].tolist()) - present)
        if lacking:
            shown = ", ".join(repr(names[i]) for i in lacking[:5])
            raise DataError(
                f"the {part} part has classes that train lacks: {shown}; add training images of them"
            )


def _check_taxonomy(class_names: tuple[tuple[str, ...], ...], taxonomy: Taxonomy | None) -> None:
    if taxonomy is not None and taxonomy.levels[: len(class_names)] != class_names:
        raise DataError(
            "the taxonomy names other classes than the data; give both the same names in one order"
        )


def _lift(images: Images, taxonomy: Taxonomy | None) -> Images:
    if taxonomy is None:
        raise DataError(
            "labels on all levels need a taxonomy: give one with DataOptions(taxonomy=FILE), or put a "
            "taxonomy.json into the folder of the data"
            " (beside train/, or beside CUB's classes.txt)"
        )
    return replace(images, labels=taxonomy.lift(images.labels[:, 0]))


def _preprocessing(train: AnyImages, options: DataOptions) -> Preprocessing:
    if isinstance(train, ImageFiles):
        raise TypeError("images that stay in files need a preprocessing: nothing is decoded here")
    _, height, width, channels = train.images.shape
    return preprocessing_by(channel_statistics(train.images), (height, width, channels), options)


def _fingerprint(
    class_names: tuple[tuple[str, ...], ...], preprocessing: Preprocessing, parts: Sequence[AnyImages]
) -> str:
    """SHA-256 of classes, preprocessing and the fingerprints of the parts."""
    described = [class_names, preprocessing.to_dict(), [part.fingerprint for part in parts]]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
