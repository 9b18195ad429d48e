"""Checks of the per-stage lists that nets are built from; each error says the nearest value that works."""

from __future__ import annotations

from collections.abc import Sequence


def split_like(width: int, slices: Sequence[int]) -> tuple[int, ...]:
    """`width` channels divided in the proportion of `slices`.

    Raises:
        ValueError: if that is no whole number of channels for each slice, with the nearest width that works.

    >>> split_like(96, (3, 3))
    (48, 48)
    """
    if not slices or any(count < 1 for count in slices):
        raise ValueError(f"slices {tuple(slices)}: at least one slice of one branch or more is needed")
    total = sum(slices)
    if any(width * count % total for count in slices) or width < 1:
        works = [w for w in range(1, 2 * width + total + 1) if not any(w * c % total for c in slices)]
        nearest = min(works, key=lambda w: abs(w - width))
        raise ValueError(
            f"{width} trunk channels cannot be divided over slices of {tuple(slices)} branches; "
            f"the nearest width that can is {nearest}"
        )
    return tuple(width * count // total for count in slices)


def even_slices(branches: int, stages: int) -> tuple[int, ...]:
    """`branches` divided over `stages` equal slices.

    Raises:
        ValueError: if `stages` does not divide `branches`, with the nearest number that does.

    >>> even_slices(18, 6)
    (3, 3, 3, 3, 3, 3)
    """
    if stages < 1 or branches % stages:
        divisors = [k for k in range(1, branches + 1) if branches % k == 0]
        nearest = min(divisors, key=lambda k: abs(k - stages), default=1)
        raise ValueError(
            f"{branches} branches cannot be divided over {stages} equal slices; the nearest number of "
            f"slices that can is {nearest}"
        )
    return (branches // stages,) * stages


def check_exits(exits_after: Sequence[int], units: int) -> None:
    """Raises ValueError unless `exits_after` increases and ends with the last of `units`."""
    if list(exits_after) != sorted(set(exits_after)) or exits_after[0] < 1 or exits_after[-1] != units:
        raise ValueError(
            f"exits_after {tuple(exits_after)}: increasing numbers from 1 to {units} are needed, "
            f"the last of them {units} (nothing may be computed for no prediction)"
        )


def check_blocks(blocks: Sequence[int]) -> tuple[int, ...]:
    """`blocks` as a tuple. Raises ValueError if it is empty or holds less than one block."""
    if not blocks or any(count < 1 for count in blocks):
        raise ValueError(
            f"blocks {tuple(blocks)}: one number of residual blocks, at least 1, a scale is needed"
        )
    return tuple(blocks)


def check_branches(branches: Sequence[int]) -> tuple[int, ...]:
    """`branches` as a tuple. Raises ValueError unless they are positive and increase."""
    if not branches or list(branches) != sorted(set(branches)) or branches[0] < 1:
        raise ValueError(
            f"branches {tuple(branches)}: the number of branches of each stage is needed, increasing, "
            "for example (1, 2, 4)"
        )
    return tuple(branches)
