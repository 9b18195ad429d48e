"""How tables show multiply-adds that are not complete: a mark beside the number, a line below."""

from __future__ import annotations

from collections.abc import Sequence

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
