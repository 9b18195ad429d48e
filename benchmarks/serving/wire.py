"""HTTP/1.1 in bytes: requests encoded beforehand, and a reader of answers that may come in pieces."""

from __future__ import annotations

from dataclasses import dataclass

_LARGEST_HEAD, _LARGEST_BODY = 2**14, 2**20


def encode(target: str, body: bytes, content_type: str, headers: dict[str, str] | None = None) -> bytes:
    """One POST over a connection that stays open.

    >>> encode("/v1/predict?top=1", b"abc", "image/png").splitlines()[0]
    b'POST /v1/predict?top=1 HTTP/1.1'
    """
    lines = [
        f"POST {target} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the body, and whether the connection can be used again."""

    status: int
    body: bytes
    keep: bool


class Reader:
    """The answers of one connection, one after the other, from pieces of any size.

    >>> reader = Reader()
    >>> reader.feed(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{")
    >>> reader.feed(b"}")
    Answer(status=200, body=b'{}', keep=True)
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._head: tuple[int, bool, int | None] | None = None  # status, keep, length; None: in chunks

    def feed(self, piece: bytes) -> Answer | None:
        """The answer that `piece` completes; None while there is more to come.

        Raises:
            ValueError: for what is no answer, has no length, is too long, or was not asked for.
        """
        self._bytes += piece
        if self._head is None:
            end = self._bytes.find(b"\r\n\r\n")
            if end < 0:
                if len(self._bytes) > _LARGEST_HEAD:
                    raise ValueError(f"a head of more than {_LARGEST_HEAD} bytes")
                return None
            self._head = _read_head(bytes(self._bytes[:end]))
            del self._bytes[: end + 4]
        status, keep, length = self._head
        body = self._whole(length) if length is not None else self._chunked()
        if body is None:
            return None
        if self._bytes:
            raise ValueError("more bytes came than the answer has")
        self._head = None
        return Answer(status, body, keep)

    def _whole(self, length: int) -> bytes | None:
        if len(self._bytes) < length:
            return None
        body = bytes(self._bytes[:length])
        del self._bytes[:length]
        return body

    def _chunked(self) -> bytes | None:
        """The body once its last chunk is here; nothing is taken away before."""
        body, at = bytearray(), 0
        while True:
            end = self._bytes.find(b"\r\n", at)
            if end < 0:
                return None
            size = int(bytes(self._bytes[at:end]).partition(b";")[0], 16)
            stop = end + 2 + size
            if stop > _LARGEST_BODY:
                raise ValueError(f"a body of more than {_LARGEST_BODY} bytes")
            if len(self._bytes) < stop + 2:
                return None
            if bytes(self._bytes[stop : stop + 2]) != b"\r\n":
                raise ValueError("a chunk that does not end where it says")
            if size == 0:
                del self._bytes[: stop + 2]
                return bytes(body)
            body += self._bytes[end + 2 : stop]
            at = stop + 2


def _read_head(head: bytes) -> tuple[int, bool, int | None]:
    first, *rest = head.split(b"\r\n")
    version, _, code = first.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not code[:3].isdigit():
        raise ValueError(f"no answer of HTTP/1: {first[:60]!r}")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in rest)
    }
    keep = fields.get(b"connection", b"keep-alive").lower() != b"close"
    if b"chunked" in fields.get(b"transfer-encoding", b"").lower():
        return int(code[:3]), keep, None
    length = int(fields.get(b"content-length", b"-1"))
    if not 0 <= length <= _LARGEST_BODY:
        raise ValueError(f"an answer of {length} bytes; 0 to {_LARGEST_BODY} are read")
    return int(code[:3]), keep, length
