"""Drawing images by class: every class keeps its share, whatever the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from anytimenet.core.errors import DataError


def draw_part(
    labels: np.ndarray, names: Sequence[str], fraction: float, seed: int, purpose: str
) -> np.ndarray:
    """Which images go into a part of `fraction`: a bool `(N,)`, each class within one image of its share.

    Each class keeps at least one image outside the part. The draw orders images by a hash of seed,
    purpose and name, so it depends neither on the order of the images nor on a generator's version.

    Raises:
        DataError: if no class has two images.

    >>> draw_part(np.array([0] * 10 + [1] * 10), [str(i) for i in range(20)], 0.1, 0, "val").sum()
    np.int64(2)
    """
    counts = np.bincount(labels)
    total = max(1, round(fraction * len(labels)))
    exact = np.round(fraction * counts, 9)  # 0.1 * 30 is not exactly 3
    most = np.minimum(np.maximum(counts - 1, 0), np.ceil(exact).astype(np.int64))
    if not most.any():
        raise DataError(
            f"no class has two images, so none can be held out for the {purpose} part; "
            f"add images, or give a {purpose} part"
        )
    share = apportion(counts, min(total, int(most.sum())), most=most, exact=exact)
    return _draw(labels, names, share, seed, purpose)


def draw_limit(labels: np.ndarray, names: Sequence[str], limit: int, seed: int) -> np.ndarray:
    """Which images to keep when at most `limit` may stay: a bool `(N,)`, classes in proportion.

    Every class keeps at least one image if `limit` allows it.
    """
    counts = np.bincount(labels)
    total = min(limit, len(labels))
    least = np.minimum(counts, 1) if total >= np.count_nonzero(counts) else np.zeros_like(counts)
    share = apportion(counts, total, least=least)
    return _draw(labels, names, share, seed, "limit")


def draw_per_class(labels: np.ndarray, names: Sequence[str], most: int, seed: int) -> np.ndarray:
    """Which images to keep when at most `most` of each class may stay: a bool `(N,)`.

    >>> draw_per_class(np.array([0, 0, 0, 1]), ["a", "b", "c", "d"], 2, 0).sum()
    np.int64(3)
    """
    return _draw(labels, names, np.minimum(np.bincount(labels), most), seed, "per class")


def apportion(
    counts: np.ndarray,
    total: int,
    *,
    least: np.ndarray | None = None,
    most: np.ndarray | None = None,
    exact: np.ndarray | None = None,
) -> np.ndarray:
    """Divides `total` over classes in proportion to `counts`, by largest remainders.

    Args:
        least, most: bounds of each class; 0 and `counts` by default.
        exact: the share of each class before rounding; `total * counts / sum(counts)` by default.

    Raises:
        ValueError: if `total` does not lie between the sums of the bounds.

    >>> apportion(np.array([50, 30, 20]), 7).tolist()
    [4, 2, 1]
    """
    least = np.zeros_like(counts) if least is None else least
    most = counts if most is None else most
    if not least.sum() <= total <= most.sum():
        raise ValueError(f"{total} cannot be divided over bounds that sum to {least.sum()} and {most.sum()}")
    exact = total * counts / counts.sum() if exact is None else exact
    share: np.ndarray = np.clip(np.floor(exact).astype(np.int64), least, most)
    while share.sum() < total:
        share[np.argmax(np.where(share < most, exact - share, -np.inf))] += 1
    while share.sum() > total:
        share[np.argmax(np.where(share > least, share - exact, -np.inf))] -= 1
    return share


def _draw(labels: np.ndarray, names: Sequence[str], share: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    keys = [_key(f"{purpose} {seed} {name}") for name in names]
    shuffled = np.array(sorted(range(len(names)), key=keys.__getitem__), dtype=np.int64)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    drawn = np.zeros(len(labels), dtype=bool)
    for start, number in zip(starts, share, strict=True):
        drawn[by_class[start : start + number]] = True
    return drawn


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogateescape")).digest()
