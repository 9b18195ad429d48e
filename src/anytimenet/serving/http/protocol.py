"""HTTP/1.1 of uvicorn, with limits that it lacks: connections, and the time that headers may take."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from anytimenet.serving.http.delays import arrived_since
from anytimenet.serving.http.door import ARRIVED
from anytimenet.serving.http.problems import bad_request
from anytimenet.serving.http.settings import Limits


def protocol_with(limits: Limits) -> type[asyncio.Protocol]:
    """The class of connections that keep these limits."""

    class BoundedProtocol(H11Protocol):
        """One connection."""

        _slow: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
                return
            self._wait_for_headers()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            # The application begins in the next turn of the loop: this is in time to tell it.
            scope: Any = self.scope
            if scope is not None and ARRIVED not in scope:
                scope[ARRIVED] = arrived_since(self.loop)
            if self.conn.their_state is not h11.IDLE:
                self._stop_waiting()
            elif self._slow is None:
                self._wait_for_headers()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """What is no HTTP, or has longer headers than are read, is answered as every mistake is."""
            body = bad_request("this is no HTTP request, or its headers are too long").body
            head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
            self.transport.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            self.transport.close()

        def _wait_for_headers(self) -> None:
            self._slow = self.loop.call_later(limits.header_seconds, self.transport.abort)

        def _stop_waiting(self) -> None:
            if self._slow is not None:
                self._slow.cancel()
                self._slow = None

    return BoundedProtocol
