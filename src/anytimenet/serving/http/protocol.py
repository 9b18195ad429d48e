"""HTTP/1.1 of uvicorn, with limits that it lacks: connections, header bytes, and the time that clients take.

The parser is the one in C (httptools) where that is installed, else the one in Python (h11): the same limits
and the same answers, and a tenth of a millisecond more for each request.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from anytimenet.serving.http.h11_protocol import read_by_h11
from anytimenet.serving.http.leaving import LEAVING, Leaving
from anytimenet.serving.http.problems import bad_request
from anytimenet.serving.http.settings import Limits
from anytimenet.serving.http.unread import Unread

_REFUSED_HEAD = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"


def protocol_with(
    limits: Limits, parser: type[asyncio.Protocol] = AutoHTTPProtocol
) -> type[asyncio.Protocol]:
    """The class of connections that keep these limits.

    Args:
        limits: on connections, headers, and the time that clients take.
        parser: uvicorn's protocol with one parser or the other.
    """
    bounded = _bounded(parser, limits)
    if issubclass(parser, H11Protocol):
        return read_by_h11(bounded)
    from anytimenet.serving.http.httptools_protocol import read_by_httptools

    return read_by_httptools(bounded, limits.header_bytes)


class _Reading(FlowControl):
    """Reads no further while whole requests wait in a connection for their turn.

    Else every request that is taken makes room for many more, and a client that sends them without end is
    given memory without end.
    """

    def __init__(self, transport: Any, connection: Any) -> None:
        super().__init__(transport)
        self._connection = connection

    def resume_reading(self) -> None:
        if self.read_paused and self._connection.may_read():
            super().resume_reading()


def _bounded(parser: Any, limits: Limits) -> Any:
    """What connections have in common, whatever reads them."""

    class BoundedProtocol(parser):  # type: ignore[misc]
        """One connection."""

        _slow: asyncio.TimerHandle | None = None
        _unread: Unread | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
                return
            self.flow = _Reading(transport, self)
            self._unread = Unread(transport, limits.answer_seconds, transport.abort)
            transport.set_write_buffer_limits(0)  # paused as soon as the kernel takes no more
            self._wait_for_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            if self._unread is not None:
                self._unread.stop()
            super().connection_lost(exc)
            cycle = self.running
            if cycle is not None and not cycle.response_complete:
                leaving: Leaving | None = cycle.scope.get(LEAVING)
                if leaving is not None:
                    leaving.goes()

        def pause_writing(self) -> None:
            super().pause_writing()
            if self._unread is not None:
                self._unread.watch()

        def resume_writing(self) -> None:
            if self._unread is not None:
                self._unread.stop()
            super().resume_writing()

        @property
        def running(self) -> Any:
            """The request that is answered now, or was the last; None before the first."""
            return self.cycle

        def may_read(self) -> bool:
            """Whether more is read of what the client sends."""
            raise NotImplementedError

        def send_400_response(self, msg: str) -> None:
            """What is no HTTP, or has longer headers than are read, is answered as every mistake is."""
            running = self.running
            if running is not None and running.response_started and not running.response_complete:
                self.transport.abort()  # words in the middle of an answer would be part of it
                return
            body = bad_request("this is no HTTP request, or its headers are too long").body
            self.transport.write(_REFUSED_HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
            self.transport.close()

        def _wait_for_headers(self) -> None:
            self._slow = self.loop.call_later(limits.header_seconds, self.transport.abort)

        def _stop_waiting(self) -> None:
            if self._slow is not None:
                self._slow.cancel()
                self._slow = None

    return BoundedProtocol
