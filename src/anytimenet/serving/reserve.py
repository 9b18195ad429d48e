"""How much time is kept free before a deadline, for making the answer and returning it."""

from __future__ import annotations

_FIRST_S = 0.0005
_MOST_S = 0.02
_RECENT = 0.1
_TIMES_USUAL = 4.0
_SPREADS = 3.0


class Reserve:
    """A running mean of what it took lately, and three times its spread.

    A single one counts as no more than four times what is usual, and half a millisecond: a thread that was
    off the processor says nothing of the next answers. A change that lasts is followed all the same.

    Attributes:
        usual_s: the mean.

    >>> reserve = Reserve()
    >>> for _ in range(100):
    ...     reserve.took(0.001)
    >>> reserve.took(3.0)
    >>> 0.001 < reserve.seconds < 0.004
    True
    """

    def __init__(self) -> None:
        self.usual_s, self._spread = _FIRST_S, 0.0

    @property
    def seconds(self) -> float:
        """To keep free."""
        return min(self.usual_s + _SPREADS * self._spread, _MOST_S)

    def took(self, seconds: float) -> None:
        """Making and returning an answer took so long."""
        seen = min(max(0.0, seconds), _TIMES_USUAL * self.usual_s + _FIRST_S)
        away = seen - self.usual_s
        self.usual_s += _RECENT * away
        self._spread += _RECENT * (abs(away) - self._spread)
