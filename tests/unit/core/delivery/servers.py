"""A small HTTP server on this machine that knows ranges, and misbehaves where it is told to."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from anytimenet.core.manifest.folder import record_of

Fault = Callable[["Handler", bytes], None]


class Server(ThreadingHTTPServer):
    """Serves `files` by path; a path in `faults` is answered by its function instead."""

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(files)
        self.faults: dict[str, Fault] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/net"
        self.ended = threading.Event()

    def leave(self) -> None:
        """Listens no more: whoever connects from now on is refused."""
        self.shutdown()  # before it: a thread that polls a socket keeps it listening for a moment
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        path = self.path.removeprefix("/net/")
        self.server.asked.append((path, self.headers.get("Range")))
        data = self.server.files.get(path)
        if path in self.server.faults:
            self.server.faults[path](self, data or b"")
        elif data is None:
            self.head(404, 0)
        else:
            self.whole_or_rest(data)
        self.close_connection = True

    @property
    def first_byte(self) -> int:
        asked = self.headers.get("Range")
        return int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0

    def whole_or_rest(self, data: bytes) -> None:
        first = self.first_byte
        if first:
            total = len(data)
            self.head(206, total - first, {"Content-Range": f"bytes {first}-{total - 1}/{total}"})
        else:
            self.head(200, len(data))
        self.wfile.write(data[first:])

    def head(self, status: int, length: int | None, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the screen of a test."""


def manifest(files: Mapping[str, bytes], **more: object) -> bytes:
    """A manifest that lists these files."""
    return json.dumps(
        {"files": {name: record_of(data).to_dict() for name, data in files.items()}, **more}
    ).encode()


@contextmanager
def serving(
    files: Mapping[str, bytes], *, listed: bool = True, tls: ssl.SSLContext | None = None
) -> Iterator[Server]:
    """A server of these files, with a manifest unless that is not wanted; encrypted by `tls`."""
    server = Server({"bundle.json": manifest(files), **files} if listed else files)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.leave()
        thread.join()
