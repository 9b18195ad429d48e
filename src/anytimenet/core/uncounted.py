"""How tables show multiply-adds that are not complete: a mark beside the number, a line below."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

MARK = "+"
"""Behind a number: the real one is larger."""


def incomplete_note(operators: Sequence[str]) -> str:
    """The line below a table with marked numbers.

    >>> incomplete_note(["aten.fft_rfft2"])
    '+ not complete: no rule counts aten.fft_rfft2; rules={NAME: MULTIPLY_ADDS} says what a call costs'
    """
    return (
        f"{MARK} not complete: no rule counts {', '.join(operators)}; rules={{NAME: MULTIPLY_ADDS}} says "
        "what a call costs"
    )


def uncounted_in(costs: Iterable[Any]) -> tuple[str, ...]:
    """The operators that no rule counts in any of several costs or records."""
    return tuple(sorted({name for cost in costs for name in getattr(cost, "uncounted_operators", ())}))


def with_note(table: str, operators: Sequence[str]) -> str:
    """A table, and the line below it where its multiply-adds are not complete."""
    return f"{table}\n{incomplete_note(operators)}" if operators else table
