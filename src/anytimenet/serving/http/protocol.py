"""HTTP/1.1 of uvicorn, with limits that it lacks: connections, header bytes, and the time that headers take.

The parser is the one in C (httptools) where that is installed, else the one in Python (h11): the same limits
and the same answers, and a tenth of a millisecond more for each request.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol
from uvicorn.protocols.http.h11_impl import H11Protocol

from anytimenet.serving.http.delays import arrived_since
from anytimenet.serving.http.door import ARRIVED
from anytimenet.serving.http.leaving import LEAVING, Leaving
from anytimenet.serving.http.problems import bad_request
from anytimenet.serving.http.settings import Limits

_REFUSED_HEAD = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"


def protocol_with(
    limits: Limits, parser: type[asyncio.Protocol] = AutoHTTPProtocol
) -> type[asyncio.Protocol]:
    """The class of connections that keep these limits.

    Args:
        limits: on connections and headers.
        parser: uvicorn's protocol with one parser or the other.
    """
    if issubclass(parser, H11Protocol):
        return _in_python(_bounded(parser, limits))
    return _in_c(_bounded(parser, limits), limits.header_bytes)


def _bounded(parser: Any, limits: Limits) -> Any:
    """What connections have in common, whatever reads them."""

    class BoundedProtocol(parser):  # type: ignore[misc]
        """One connection."""

        _slow: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
                return
            self._wait_for_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)
            cycle = self.cycle
            if cycle is not None and not cycle.response_complete:
                leaving: Leaving | None = cycle.scope.get(LEAVING)
                if leaving is not None:
                    leaving.goes()

        def send_400_response(self, msg: str) -> None:
            """What is no HTTP, or has longer headers than are read, is answered as every mistake is."""
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


def _in_python(bounded: Any) -> type[asyncio.Protocol]:
    import h11

    class PythonProtocol(bounded):  # type: ignore[misc]
        """Read by h11, which bounds the bytes of headers itself."""

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            # The application begins in the next turn of the loop: this is in time to tell it.
            scope: Any = self.scope
            if scope is not None and ARRIVED not in scope:
                scope[ARRIVED], scope[LEAVING] = arrived_since(self.loop), Leaving()
            if self.conn.their_state is not h11.IDLE:
                self._stop_waiting()
            elif self._slow is None:
                self._wait_for_headers()

    return PythonProtocol


def _in_c(bounded: Any, most_bytes: int) -> type[asyncio.Protocol]:
    class NativeProtocol(bounded):  # type: ignore[misc]
        """Read by httptools, which takes headers of any length: they are counted here.

        Whole headers are counted when they are there; those that come in pieces, piece by piece.
        """

        _in_head = _ended = False
        _head_bytes = 0

        def data_received(self, data: bytes) -> None:
            if self.transport.is_closing():
                return
            self._ended = False
            super().data_received(data)
            if not self._in_head or self.transport.is_closing():
                return
            if not self._ended:  # else an earlier request was in it, too
                self._head_bytes += len(data)
            if self._head_bytes > most_bytes:
                self.send_400_response("")
            elif self._slow is None:
                self._wait_for_headers()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._in_head, self._head_bytes = True, 0
            scope: Any = self.scope
            scope[ARRIVED], scope[LEAVING] = arrived_since(self.loop), Leaving()

        def on_header(self, name: bytes, value: bytes) -> None:
            if self._in_head:  # what comes behind a body in chunks is told as headers, too, and is none
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            length = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
            if length > most_bytes:
                raise ValueError("the headers are too long")  # httptools takes it for a broken request
            self._in_head = False
            self._stop_waiting()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._ended = True
            super().on_message_complete()

    return NativeProtocol
