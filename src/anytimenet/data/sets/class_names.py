"""Labels of one data set in the order of another's classes: matched by name wherever both have names."""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from anytimenet.core.errors import DataError
from anytimenet.data.sets.image_set import ImageFiles, ImageSet

AnyImages = TypeVar("AnyImages", ImageSet, ImageFiles, ImageSet | ImageFiles)


def relabel(
    images: AnyImages, names: Sequence[str] | None, wanted: Sequence[str], what: str = "the data"
) -> AnyImages:
    """`images` with the fine labels that `wanted` has for the classes which they call `names`.

    The one rule for a second data set: of a validation part, and of images that a bundle is evaluated on.
    Where either side has no names (None, or the numbers from 0 on) the labels stay as they are.

    Args:
        images: labelled by places in `names`; only the names that a label uses must be known.
        names: of the fine classes of `images`.
        wanted: the fine classes to label by.
        what: the images, for messages.

    Raises:
        DataError: for a class that `wanted` lacks, a label without a name, or labels of several levels that
            stand in another order.

    >>> images = ImageSet(np.zeros((2, 1, 1, 1), np.uint8), np.array([[0], [1]]), ("a", "b"))
    >>> relabel(images, ["dog", "cat"], ["bird", "cat", "dog"]).labels.tolist()
    [[2], [1]]
    """
    used = set(images.labels[:, 0].tolist())
    ids = matched(names, wanted, used, what)
    if all(ids[label] == label for label in used):
        return images
    if images.labels.shape[1] > 1:
        raise DataError(
            f"{what} has labels of several levels with the fine classes in another order: give its labels in "
            f"the order {shown_names(wanted)}"
        )
    column = np.array([ids[label] for label in images.labels[:, 0].tolist()], dtype=np.int64)
    return replace(images, labels=column[:, None])


def matched(
    names: Sequence[str] | None, wanted: Sequence[str], used: Collection[int], what: str
) -> dict[int, int]:
    """Of each label in `used`, a place in `names`, the place of that class in `wanted`.

    Raises:
        DataError: as `relabel` does.
    """
    as_they_are = {label: label for label in used}
    if names is None:
        return as_they_are
    if used and (highest := max(used)) >= len(names):
        raise DataError(
            f"{what} has the label {highest} but names for {len(names)} classes ({shown_names(names)}): "
            "correct its labels or its names"
        )
    if all(label < len(wanted) and names[label] == wanted[label] for label in used):
        return as_they_are
    unknown = [names[label] for label in sorted(used) if names[label] not in wanted]
    if not unknown:
        for name in {names[label] for label in used}:
            if list(wanted).count(name) > 1:
                raise DataError(f"two classes are called {name!r}: rename one of them, for {what} uses it")
        return {label: list(wanted).index(names[label]) for label in used}
    if (_are_numbers(names) or _are_numbers(wanted)) and len(unknown) == len(used):
        return as_they_are  # numbers in place of names: nothing to match
    raise DataError(
        f"{what} has images of the class {unknown[0]!r}, which is none of {shown_names(wanted)}: call it as "
        "there, or leave those images out"
    )


@dataclass(frozen=True)
class Naming:
    """The classes of a map-style dataset.

    Attributes:
        names: of its classes.
        place: of an item's position and label, the place of its class in `names`; the label itself, but for
            datasets that were put together out of others with their classes in another order.
    """

    names: tuple[str, ...]
    place: Callable[[int, int], int]


def naming_of(dataset: Any) -> Naming | None:
    """The classes that a dataset names: its `classes`, or those of what a Subset or ConcatDataset wraps.

    None where there are none. Of concatenated datasets the longest list counts, and `place` matches the
    others to it by name; it raises DataError for a label whose class is not on that list.

    >>> class Pets(list):
    ...     classes = ["cat", "dog"]
    >>> naming_of(Pets()).names
    ('cat', 'dog')
    """
    if own := _own_names(dataset):
        return Naming(own, lambda index, label: label)
    torch_data: Any = sys.modules.get("torch.utils.data")  # whoever made such a dataset has imported it
    if torch_data is None:
        return None
    if isinstance(dataset, torch_data.Subset):
        inner = naming_of(dataset.dataset)
        indices = dataset.indices
        return inner and Naming(inner.names, lambda i, label: inner.place(int(indices[i]), label))
    if isinstance(dataset, torch_data.ConcatDataset):
        return _of_several(dataset)
    return None


def shown_names(names: Sequence[str], most: int = 8) -> str:
    """Names of classes in a message.

    >>> shown_names(["cat", "dog"])
    "'cat', 'dog'"
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(name) for name in names[:most]) + more


def numbered(count: int) -> tuple[str, ...]:
    """What stands for names where there are none: the numbers from 0 on."""
    return tuple(str(i) for i in range(count))


def _are_numbers(names: Sequence[str]) -> bool:
    return tuple(names) == numbered(len(names))


def _own_names(dataset: Any) -> tuple[str, ...] | None:
    given = getattr(dataset, "classes", None)
    if not isinstance(given, list | tuple | np.ndarray) or not len(given):
        return None
    if any(isinstance(name, list | dict) for name in given):  # of levels, or descriptions: no names
        return None
    names = tuple(str(name) for name in given)
    # torchvision's folders label by this mapping, whatever the order of the list is.
    ids = getattr(dataset, "class_to_idx", None)
    if isinstance(ids, Mapping) and all(isinstance(name, str) for name in given):
        places = {ids.get(name): name for name in names}
        if set(places) == set(range(len(names))):
            return tuple(places[i] for i in range(len(names)))
    return names


def _of_several(dataset: Any) -> Naming | None:
    members = [naming_of(member) for member in dataset.datasets]
    named = [member for member in members if member is not None]
    if not named:
        return None
    names = max((member.names for member in named), key=len)
    ends = list(dataset.cumulative_sizes)

    def place(index: int, label: int) -> int:
        which = bisect_right(ends, index)
        member = members[which]
        if member is None:
            return label
        own = member.place(index - (ends[which - 1] if which else 0), label)
        return matched(member.names, names, {own}, f"a part of the {type(dataset).__name__}")[own]

    return Naming(names, place)
