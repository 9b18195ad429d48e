"""Images divided over parts without a second copy of their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from anytimenet.data.sets.image_set import AnyImages, ImageFiles

Divided = TypeVar("Divided", bound=AnyImages)

_FEW = 0.25
"""Of all images: so few get memory of their own, so that the rest can be given back."""


def divide(images: Divided, runs: Sequence[np.ndarray]) -> list[Divided]:
    """The images at each of `runs`, in their order; no image is in two of them.

    Pixels in memory are moved within the array that holds them, and the parts are views of it, so that large
    data is there once. Whoever calls this owns `images` and does not use them afterwards.

    >>> from anytimenet.data import ImageSet
    >>> made = ImageSet(np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1), np.array([[0]] * 4), tuple("abcd"))
    >>> train, val = divide(made, [np.array([3, 1]), np.array([0])])
    >>> train.names, train.images.ravel().tolist(), val.images.ravel().tolist()
    (('d', 'b'), [3, 1], [0])
    """
    order = np.concatenate([np.asarray(run, dtype=np.int64) for run in runs])
    few = len(order) <= _FEW * len(images)
    if isinstance(images, ImageFiles) or few or not images.images.flags.writeable:
        parts: list[Any] = [images.subset(run) for run in runs]
        return parts
    _rearrange(images.images, order)
    # Masks take as much memory as grey pixels do; labels are a few bytes.
    moved = images.labels.ndim == 3 and images.labels.flags.writeable
    if moved:
        _rearrange(images.labels, order)
    parts = []
    start = 0
    for run in runs:
        rows = slice(start, start := start + len(run))
        labels = images.labels[rows if moved else run]
        parts.append(type(images)(images.images[rows], labels, tuple(images.names[i] for i in run)))
    return parts


def _rearrange(rows: np.ndarray, order: np.ndarray) -> None:
    """Makes `rows[i]` what was `rows[order[i]]`, along the cycles of the permutation; the rest follows."""
    left = np.ones(len(rows), dtype=bool)
    left[order] = False
    source = np.concatenate([order, np.flatnonzero(left)]).tolist()
    done = [place == wanted for place, wanted in enumerate(source)]
    for start in range(len(source)):
        if done[start]:
            continue
        held, place = rows[start].copy(), start
        while source[place] != start:
            rows[place] = rows[source[place]]
            done[place], place = True, source[place]
        rows[place] = held
        done[place] = True
