"""Checks of the per-stage lists that nets are built from; each error says the nearest value that works."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import gcd

from anytimenet.core.errors import suggest


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
        step = total // gcd(total, *slices)  # the widths that work are its multiples
        below = width // step * step
        nearest = max(step, below if width - below <= below + step - width else below + step)
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


def check_exits(exits_after: Sequence[int], units: int) -> tuple[int, ...]:
    """`exits_after` as a tuple. Raises ValueError unless it increases and ends with the last of `units`."""
    exits = as_numbers("exits_after", exits_after)
    if not exits or list(exits) != sorted(set(exits)) or exits[0] < 1 or exits[-1] != units:
        raise ValueError(
            f"exits_after {exits}: increasing numbers from 1 to {units} are needed, "
            f"the last of them {units} (nothing may be computed for no prediction)"
        )
    return exits


def check_blocks(blocks: Sequence[int]) -> tuple[int, ...]:
    """`blocks` as a tuple. Raises ValueError if it is empty or holds less than one block."""
    return check_counts("blocks", blocks, "for each scale the number of blocks")


def check_counts(name: str, values: Sequence[int], what: str) -> tuple[int, ...]:
    """`values` as a tuple. Raises ValueError, with `what` they are, if there are none, or one is under 1."""
    counts = as_numbers(name, values)
    if not counts or min(counts) < 1:
        raise ValueError(f"{name} {counts}: {what}, 1 or more, is needed")
    return counts


def check_branches(branches: Sequence[int]) -> tuple[int, ...]:
    """`branches` as a tuple. Raises ValueError unless they are positive and increase."""
    counts = as_numbers("branches", branches)
    if not counts or list(counts) != sorted(set(counts)) or counts[0] < 1:
        raise ValueError(
            f"branches {counts}: the number of branches of each stage is needed, increasing, "
            "for example (1, 2, 4)"
        )
    return counts


def check_positive(**values: int) -> None:
    """Raises ValueError, with the name, unless every value is a whole number from 1 on."""
    check_whole(**values)
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name} {value} must be at least 1")


def check_whole(**values: int) -> None:
    """Raises ValueError, with the name, unless every value is a whole number."""
    for name, value in values.items():
        if isinstance(value, bool) or not hasattr(type(value), "__index__"):
            raise ValueError(f"{name} {value!r}: a whole number is needed")


def check_flag(**values: bool) -> None:
    """Raises ValueError, with the name, unless every value is true or false."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} {value!r}: true or false is needed")


def check_word(name: str, value: str, known: Sequence[str]) -> None:
    """Raises ValueError, with the nearest known one, unless `value` is one of the words `known`."""
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"no {name} is named {value!r}: {suggest(str(value), known)}")


def as_numbers(name: str, values: Sequence[int]) -> tuple[int, ...]:
    """`values` as a tuple of integers.

    Raises:
        ValueError: for a single number or anything else that is no list of integers.

    >>> as_numbers("blocks", [5, 5])
    (5, 5)
    """
    try:
        return tuple(operator.index(value) for value in values)
    except TypeError:
        raise ValueError(
            f"{name} {values!r}: a list of whole numbers is needed, for example (1, 2)"
        ) from None
