"""Connections that httptools reads, the parser in C: what it and uvicorn leave open is bounded here.

It takes headers of any length, before a body and behind one in chunks; it reads as many requests as there are
in what has come, all at once; and of a request that offers to speak something else it skips the body.
"""

from __future__ import annotations

import asyncio
from typing import Any

from anytimenet.serving.http.delays import arrived_since
from anytimenet.serving.http.door import ARRIVED
from anytimenet.serving.http.leaving import LEAVING, Leaving

_PIECE_BYTES = 8192
"""Read at a time: as many requests as fit into it may wait in a connection."""


def read_by_httptools(bounded: Any, most_bytes: int) -> type[asyncio.Protocol]:
    """The class of connections, from what all have in common.

    Args:
        bounded: uvicorn's protocol with httptools, with its limits.
        most_bytes: of the headers of one request.
    """
    import httptools

    class BoundedHttptools(bounded):  # type: ignore[misc]
        """Read by httptools, piece by piece.

        Whole headers are counted when they are there; those that come in pieces, piece by piece.
        """

        _in_head = _in_body = _ended = _saw_body = _refused = _offers = False
        _head_bytes = _loose_bytes = 0
        _held = b""
        _running: Any = None
        parser: Any

        @property
        def running(self) -> Any:
            return self._running

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._running is not None:  # uvicorn tells it the newest alone, which may wait behind this one
                self._running.disconnected = True
                self._running.message_event.set()

        def data_received(self, data: bytes) -> None:
            if self._held:
                self._held += data
            else:
                self._take(data)

        def _take(self, data: bytes) -> None:
            """Reads it until a request waits for the one before; the rest is held back as long."""
            for start in range(0, len(data), _PIECE_BYTES):
                if self._refused or self.transport.is_closing():
                    return
                if start and (self.pipeline or self._held):
                    self._held += data[start:]
                    return
                self._take_piece(data[start : start + _PIECE_BYTES])

        def may_read(self) -> bool:
            if self.pipeline or self._refused:
                return False
            if self._held:
                self.loop.call_soon(self._take_held)
                return False
            return True

        def _take_held(self) -> None:
            held, self._held = self._held, b""
            self._take(held)
            if not self._held and not self.transport.is_closing():
                self.flow.resume_reading()

        def _take_piece(self, data: bytes) -> None:
            self._ended = self._saw_body = False
            self._unset_keepalive_if_required()
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                self._decline(data[offer.args[0] :])
                return
            except httptools.HttpParserError:
                self.send_400_response("")
                return
            self._count(len(data))

        def _count(self, size: int) -> None:
            """What was read belongs to headers, to a body, or to neither: sizes of chunks, what is behind."""
            if self._in_head:
                if not self._ended:  # else an earlier request was in it, too
                    self._head_bytes += size
                if self._head_bytes > most_bytes:
                    self.send_400_response("")
                elif self._slow is None:
                    self._wait_for_headers()
            elif self._in_body:
                self._loose_bytes = 0 if self._saw_body else self._loose_bytes + size
                if self._loose_bytes > most_bytes:
                    self.send_400_response("")

        def _decline(self, rest: bytes) -> None:
            """Goes on in HTTP/1.1 with a request that offered another protocol: nobody has to take it."""
            method, version = self.parser.get_method(), self.parser.get_http_version().encode()
            if method == b"CONNECT":
                self.send_400_response("")
                return
            kept = [(name, value) for name, value in self.headers if name != b"upgrade"]
            lines = [b"%s %s HTTP/%s" % (method, self.url, version)]
            lines += [b"%s: %s" % pair for pair in kept]
            self._offers = False
            self.parser = httptools.HttpRequestParser(self)
            self._take(b"\r\n".join([*lines, b"", b""]) + rest)

        def send_400_response(self, msg: str) -> None:
            """Whole requests are answered before it, for answers come in order."""
            if self._in_body and self.pipeline and self.pipeline[0][0] is self.cycle:
                self.pipeline.popleft()  # the one that is broken: its body never comes
            elif self._in_body and self._running is self.cycle:
                super().send_400_response(msg)
                return
            if self._running is None or self._running.response_complete:
                super().send_400_response(msg)
            else:
                self._refused = True
                self._stop_waiting()
                self.flow.pause_reading()

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
            self._offers = self.parser.should_upgrade()
            if not self._offers:
                super().on_headers_complete()
                self._in_body, self._loose_bytes = True, 0

        def on_body(self, body: bytes) -> None:
            self._saw_body = True
            super().on_body(body)

        def on_message_complete(self) -> None:
            if self._offers:
                return
            self._ended, self._in_body = True, False
            super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self._refused and self._running.response_complete and not self.transport.is_closing():
                super().send_400_response("")

        def _start_asgi_task(self, cycle: Any, app: Any) -> None:
            self._running = cycle
            super()._start_asgi_task(cycle, app)

    return BoundedHttptools
