"""What a client has not read of its answers: a slow reader is told from one that reads nothing."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

try:
    import fcntl
    import termios
except ImportError:  # no Unix
    _QUEUED = None
else:
    _QUEUED = getattr(termios, "TIOCOUTQ", None)


class Unread:
    """Watches one connection while the kernel takes no more of what is written to it.

    Args:
        transport: of the connection.
        seconds: for which its client may read nothing at all.
        give_up: called once it has.
    """

    def __init__(self, transport: Any, seconds: float, give_up: Callable[[], None]) -> None:
        self._transport, self._seconds, self._give_up = transport, seconds, give_up
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._unread = 0

    def watch(self) -> None:
        """From now on."""
        self._unread = self._bytes()
        self._timer = self._loop.call_later(self._seconds, self._look)

    def stop(self) -> None:
        """All that was written is on its way, or the connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        if self._bytes() < self._unread:
            self.watch()
        else:
            self._give_up()

    def _bytes(self) -> int:
        """In the transport and in the kernel, which takes more only when a third of its own is read."""
        queued = 0
        if _QUEUED is not None and (connection := self._transport.get_extra_info("socket")) is not None:
            try:
                answer = fcntl.ioctl(connection.fileno(), _QUEUED, bytes(4))
                queued = int(struct.unpack("i", answer)[0])
            except OSError:  # a kind of connection that does not tell
                pass
        return int(self._transport.get_write_buffer_size()) + queued
