"""Connections used in strange ways: many requests at once, other protocols, answers that nobody reads."""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
import time
from collections.abc import Iterator

import pytest
from tests.unit.serving.http.serving import Running, client_of, png, resident_of, running, wait_for

from anytimenet.runtime.exported.net import ExportedNet
from anytimenet.serving.http import running as running_module
from anytimenet.serving.http.protocol import protocol_with
from anytimenet.serving.http.settings import Limits, Settings
from anytimenet.serving.http.unread import Unread

IMAGE = png()
ALIVE = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


@pytest.fixture(params=["httptools_impl.HttpToolsProtocol", "h11_impl.H11Protocol"], scope="module")
def open_server(request: pytest.FixtureRequest, net: ExportedNet) -> Iterator[Running]:
    """With the one parser and with the other."""
    module, _, name = request.param.partition(".")
    if module.startswith("httptools"):
        pytest.importorskip("httptools")
    parser = getattr(importlib.import_module(f"uvicorn.protocols.http.{module}"), name)
    limits = Limits(header_bytes=4096, answer_seconds=0.3)
    settings = Settings(port=0, log="errors", watch_s=None, limits=limits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running_module, "protocol_with", lambda limits: protocol_with(limits, parser))
        with running([resident_of(net)], settings) as server:
            yield server


def predict(*headers: str, body: bytes = IMAGE, query: str = "top=1") -> bytes:
    """The bytes of a request."""
    lines = [f"POST /v1/predict?{query} HTTP/1.1", "host: 127.0.0.1", "content-type: image/png", *headers]
    if not any(line.startswith("transfer-encoding") for line in headers):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def read(client: socket.socket, until: bytes = b"", times: int = 1) -> bytes:
    """What comes until that was read so often, or until the end."""
    found = b""
    while not until or found.count(until) < times:
        more = client.recv(65536)
        if not more:
            return found
        found += more
    return found


def connected(server: Running) -> socket.socket:
    return socket.create_connection(server.address, timeout=20)


@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_an_offer_to_speak_something_else_is_declined_and_the_body_is_read(open_server, offer):
    """As the HTTP client of Java sends it with its first request."""
    headers = [f"Upgrade: {offer}", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"]
    with connected(open_server) as client:
        client.sendall(predict(*headers) + ALIVE)
        found = read(client, b'{"status":"alive"}')
    assert found.count(b"HTTP/1.1 200") == 2
    assert b'"label"' in found


def test_an_offer_in_pieces_with_a_body_in_chunks(open_server):
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(IMAGE), IMAGE)
    sent = predict("transfer-encoding: chunked", "connection: upgrade", "upgrade: h2c", body=chunks)
    with connected(open_server) as client:
        for at in range(0, len(sent), 100):
            client.sendall(sent[at : at + 100])
            time.sleep(0.001)
        client.sendall(ALIVE)
        found = read(client, b'{"status":"alive"}')
    assert found.count(b"HTTP/1.1 200") == 2


def test_requests_that_come_at_once_are_all_answered_in_order(open_server):
    with connected(open_server) as client:
        ids = [f"x-request-id: at-{at}-" for at in range(300)]
        client.sendall(b"".join(predict(one) for one in ids))
        found = read(client, b'"request_id":"at-', len(ids))
    places = [found.index(f'"request_id":"at-{at}-"'.encode()) for at in range(len(ids))]
    assert places == sorted(places)


def test_whoever_sends_requests_without_end_is_not_given_memory_without_end(open_server):
    """They wait in the sockets, and the client is held up: else each that is taken lets in thousands."""
    service, most = open_server.service, 4 * 2**20
    with connected(open_server) as client:
        client.setblocking(False)
        sent, waiting, until = 0, 0, time.monotonic() + 2
        while time.monotonic() < until and sent < 3 * most:
            try:
                sent += client.send(predict() * 50)
            except BlockingIOError:
                time.sleep(0.01)
            waiting = max([waiting, *map(_waiting, open_server.server.server_state.connections)])
        assert service.under_way <= 1
    assert sent > 2**18
    assert waiting < 2**20


def _waiting(connection) -> int:
    """Bytes that a connection has read and not yet begun with."""
    if hasattr(connection, "conn"):
        return len(connection.conn.trailing_data[0])
    queued = sum(len(cycle.body) + 200 for cycle, _ in list(connection.pipeline))
    return queued + len(connection._held)


def test_what_is_no_request_does_not_take_the_answer_of_the_one_before(open_server):
    with connected(open_server) as client:
        client.sendall(predict("x-request-id: good") + b"NONSENSE\r\n\r\n" + predict("x-request-id: behind"))
        found = read(client)
    first, _, second = found.partition(b"HTTP/1.1 400")
    assert first.startswith(b"HTTP/1.1 200")
    assert b'"request_id":"good"' in first
    assert b'"reason": "bad_request"' in second
    assert b"behind" not in second


def test_a_broken_body_behind_whole_requests_leaves_them_their_answers(open_server):
    broken = predict("transfer-encoding: chunked", body=b"zz\r\n")
    with connected(open_server) as client:
        client.sendall(predict("x-request-id: a") + predict("x-request-id: b") + broken)
        found = read(client)
    assert found.count(b"HTTP/1.1 200") == 2
    assert found.count(b"HTTP/1.1 400") == 1
    assert found.index(b'"request_id":"b"') < found.index(b"HTTP/1.1 400")


@pytest.mark.parametrize("behind", [b"0\r\nx: ", b"1;x="])
def test_what_stands_between_and_behind_chunks_is_bounded(open_server, behind):
    head = predict("transfer-encoding: chunked", body=b"1\r\nx\r\n" + behind)
    with connected(open_server) as client:
        client.sendall(head)
        sent, found = 0, b""
        try:
            while sent < 2**22:
                client.sendall(b"y" * 4096)
                sent += 4096
            found = read(client)
        except ConnectionError:
            pass
    assert sent < 2**22 or found.startswith(b"HTTP/1.1 400")


def test_trailers_say_nothing(open_server):
    body = b"%x\r\n%s\r\n0\r\nx-request-deadline-ms: 0\r\nhost: evil\r\n\r\n" % (len(IMAGE), IMAGE)
    with connected(open_server) as client:
        client.sendall(predict("transfer-encoding: chunked", body=body))
        assert read(client, b"request_id").startswith(b"HTTP/1.1 200")


def test_a_client_that_reads_nothing_is_given_up(open_server):
    """Else some hundred of them hold every place that there is."""
    service = open_server.service
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(open_server.address)
        client.setblocking(False)
        wait_for(lambda: not _sends(client, predict(query="top=0&stream=true") * 20))
    wait_for(lambda: service.under_way == 0)
    wait_for(lambda: service.bodies.held_bytes == 0)
    with client_of(open_server) as client:
        assert client.get("/healthz").status_code == 200


def _sends(client: socket.socket, data: bytes) -> bool:
    """Whether the connection is open still."""
    try:
        client.send(data)
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return True


class _Transport:
    """With 100 bytes that the kernel does not take."""

    def __init__(self, connection: socket.socket) -> None:
        self.get_extra_info = {"socket": connection}.get

    def get_write_buffer_size(self) -> int:
        return 100


@pytest.mark.skipif(sys.platform != "linux", reason="others count what the kernel holds in other ways")
def test_a_client_that_reads_slowly_is_waited_for():
    """The kernel takes more only when a third of what it holds is read: what it holds is counted, too."""

    async def slowly() -> None:
        given_up: list[bool] = []
        with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(20)
            client.connect(listening.getsockname())
            server, _ = listening.accept()
            server.setblocking(False)
            wait_for(lambda: not _takes_more(server))
            unread = Unread(_Transport(server), 3600.0, lambda: given_up.append(True))
            unread.watch()
            for _ in range(2):
                before = unread._bytes()
                client.recv(2**20)
                _read_until(client, unread, before)
                unread._look()
                assert not given_up
            unread._look()
            assert given_up
            unread.stop()
            server.close()

    asyncio.run(slowly())


def _read_until(client: socket.socket, unread: Unread, below: int) -> None:
    while unread._bytes() >= below:
        assert client.recv(2**16)


def _takes_more(connection: socket.socket) -> bool:
    try:
        return connection.send(bytes(2**16)) > 0
    except BlockingIOError:
        return False


def test_a_body_that_is_compressed_on_its_way_is_refused_as_such(open_server):
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(IMAGE), IMAGE)
    with connected(open_server) as client:
        client.sendall(predict("transfer-encoding: gzip, chunked", body=chunks))
        found = read(client, b"}")
    assert found.split()[1] in (b"415", b"400")  # h11 refuses it by itself
