"""A mailbox with one place: only the newest frame waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anytimenet.core.errors import SessionError

CLOSED = "this stream is closed: begin another one"


@dataclass(frozen=True, eq=False)
class Frame:
    """What was put into the mailbox.

    Attributes:
        number: counted from 0, those that were skipped too.
        content: the image.
        arrived: seconds of the clock when it was put there.
        skipped: frames that came after the one taken before, and were replaced by a newer one.
    """

    number: int
    content: Any
    arrived: float
    skipped: int


class Mailbox:
    """One place for the newest frame, between a thread that puts and one that takes.

    Args:
        clock: seconds.
        wait: `wait(seconds)` returns once they have passed, and may return before; for tests. By default it
            returns as soon as something is put.

    >>> box = Mailbox()
    >>> box.put("old"); box.put("new"); box.close()
    >>> frame = box.take(1.0)
    >>> frame.content, frame.number, frame.skipped, box.take(1.0)
    ('new', 1, 1, None)
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._clock, self._wait = clock, wait
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._count = self._skipped = 0
        self._error: BaseException | None = None
        self.closed = False

    @property
    def count(self) -> int:
        """Frames that were put."""
        return self._count

    def put(self, content: Any) -> None:
        """Puts a frame; one that still waits is skipped.

        Raises:
            SessionError: if the mailbox is closed.
        """
        with self._changed:
            if self.closed:
                raise SessionError(CLOSED)
            self._skipped += self._newest is not None
            self._newest = Frame(self._count, content, self._clock(), self._skipped)
            self._count += 1
            self._changed.notify_all()

    def take(self, seconds: float) -> Frame | None:
        """The newest frame, waiting for one no longer than that; None if none came.

        Raises:
            Exception: what the source broke off with, once its last frame was taken.
        """
        until = self._clock() + seconds
        with self._changed:
            while self._newest is None and not self.closed:
                left = until - self._clock()
                if not 0 < left < 2 * seconds:  # much more than before: the clock was set back
                    return None
                self._wait_for_change(left)
            frame, self._newest = self._newest, None
            if frame is not None:
                self._skipped = 0
            elif self._error is not None:
                raise self._error
            return frame

    def close(self, error: BaseException | None = None) -> None:
        """No further frame comes; one that waits can still be taken. `error` is raised after it."""
        with self._changed:
            self.closed, self._error = True, self._error or error
            self._changed.notify_all()

    @property
    def empty(self) -> bool:
        """Whether no frame waits."""
        return self._newest is None

    def _wait_for_change(self, seconds: float) -> None:
        if self._wait is None:
            self._changed.wait(seconds)
            return
        self._changed.release()
        try:
            self._wait(seconds)
        finally:
            self._changed.acquire()
