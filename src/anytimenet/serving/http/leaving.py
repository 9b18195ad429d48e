"""A client that goes away: told by its connection to whoever works for it."""

from __future__ import annotations

from collections.abc import Callable

LEAVING = "anytimenet.leaving"
"""Where a `Leaving` stands in the scope of a request, if the connection knows of it."""


class Leaving:
    """Of one request: whether its client is gone, and what is called when it goes.

    Attributes:
        gone: whether it is.

    >>> leaving, told = Leaving(), []
    >>> leaving.calls(lambda: told.append("gone"))
    >>> leaving.goes()
    >>> leaving.gone, told
    (True, ['gone'])
    """

    __slots__ = ("_call", "gone")

    def __init__(self) -> None:
        self.gone = False
        self._call: Callable[[], None] | None = None

    def calls(self, call: Callable[[], None] | None) -> None:
        """From now on that is called, at once if the client is gone already; None for nothing."""
        self._call = call
        if self.gone and call is not None:
            call()

    def goes(self) -> None:
        """The connection was lost."""
        self.gone = True
        if self._call is not None:
            self._call()
