"""What goes wrong with a request, as its client reads it: a status, a code for programs, words for people."""

from __future__ import annotations

import json
import math


class Problem(Exception):  # noqa: N818 (RFC 9457 calls it so)
    """A request that is not answered.

    Attributes:
        status: of HTTP.
        reason: a code for programs.
        words: for people; never a path, a traceback or what was sent.
        retry_after_s: when to come again; None where that would not help.
    """

    def __init__(self, status: int, reason: str, words: str, retry_after_s: float | None = None) -> None:
        super().__init__(words)
        self.status, self.reason, self.words = status, reason, words
        self.retry_after_s = retry_after_s

    @property
    def body(self) -> bytes:
        """The JSON that the client reads."""
        return json.dumps(self.record).encode()

    @property
    def record(self) -> dict[str, object]:
        """The same as an object."""
        found: dict[str, object] = {"error": self.words, "reason": self.reason}
        if self.retry_after_s is not None:
            found["retry_after_s"] = round(self.retry_after_s, 3)
        return found

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """`Retry-After` is in whole seconds, the field of the body is exact."""
        found = [(b"content-type", b"application/json")]
        if self.retry_after_s is not None:
            found.append((b"retry-after", str(max(1, math.ceil(self.retry_after_s))).encode()))
        if self.status == 401:
            found.append((b"www-authenticate", b"Bearer"))
        return found


def bad_request(words: str) -> Problem:
    """A request that says what cannot be."""
    return Problem(400, "bad_request", words)


def overload(retry_after_s: float) -> Problem:
    """No room, or no time, for one more."""
    return Problem(
        503, "overload", "the server is full at the moment: come again after retry_after_s", retry_after_s
    )


def closing() -> Problem:
    """A server that is about to end."""
    return Problem(503, "closing", "the server is closing: ask another one, or come again", 1.0)


def expired() -> Problem:
    """A deadline that cannot be kept, or is over."""
    return Problem(504, "expired", "the deadline leaves no time for the first stage: no work was done for it")
