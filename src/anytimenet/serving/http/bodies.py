"""Bodies of requests, read with limits on bytes and on time, and no more of them than fit together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from anytimenet.serving.http.problems import Problem, overload
from anytimenet.serving.http.settings import Limits

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class ClientGoneError(Exception):
    """The client went away, and nobody reads an answer."""


class Bodies:
    """Reads bodies; what all of them hold together is counted, and freed with `let_go`.

    Args:
        limits: on bytes and seconds.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.held_bytes = 0

    async def read(self, receive: Receive, headers: Mapping[str, str]) -> bytes:
        """The body of a request; `let_go(len(body))` gives its room back.

        Args:
            receive: of the request.
            headers: of the request, by lower-case name.

        Raises:
            Problem: 400 for a length that is none, 408 if it comes too slowly, 413 if it is too long, 415 if
                it is compressed, 503 if there is no room for it now.
            ClientGoneError: if the client went away.
        """
        if headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
            raise _compressed()
        if headers.get("transfer-encoding", "chunked").strip().lower() != "chunked":
            raise _compressed()
        announced = _announced(headers.get("content-length"))
        if announced is not None and announced > self._limits.body_bytes:
            raise self._too_large()
        chunks, held = [], 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGoneError
                    chunk = message.get("body", b"")
                    self._hold(len(chunk), held + len(chunk))
                    held += len(chunk)
                    chunks.append(chunk)
                    if not message.get("more_body"):
                        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except TimeoutError:
            self.let_go(held)
            raise Problem(
                408, "timeout", f"the body did not come within {self._limits.body_seconds:g} seconds"
            ) from None
        except BaseException:
            self.let_go(held)
            raise

    def let_go(self, count: int) -> None:
        """Gives room back."""
        self.held_bytes -= count

    def _hold(self, count: int, total: int) -> None:
        if total > self._limits.body_bytes:
            raise self._too_large()
        if self.held_bytes + count > self._limits.buffered_bytes:
            raise overload(1.0)
        self.held_bytes += count

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "too_large",
            f"a body may have {self._limits.body_bytes:,} bytes: send smaller images",
        )


def _compressed() -> Problem:
    return Problem(415, "unsupported_media_type", "compressed bodies are not read: send it as it is")


def _announced(length: str | None) -> int | None:
    if length is None:
        return None
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        raise Problem(400, "bad_request", "content-length must be a number of bytes")
    return int(length)
