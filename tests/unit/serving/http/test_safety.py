"""Who may ask, from where, and how much: each promise of SECURITY.md on the server."""

from __future__ import annotations

import hashlib
import importlib
import socket
import time
from contextlib import suppress

import pytest
from tests.unit.serving.http.serving import PNG, client_of, png, resident_of, running, wait_for

from anytimenet.serving.http import running as running_module
from anytimenet.serving.http.keys import ApiKeys
from anytimenet.serving.http.origins import Origins
from anytimenet.serving.http.problems import Problem
from anytimenet.serving.http.protocol import protocol_with
from anytimenet.serving.http.settings import Limits, Settings


def settings(**more) -> Settings:
    return Settings(port=0, log="errors", watch_s=None, **more)


def test_a_name_that_was_made_to_lead_here_is_refused(client):
    """DNS rebinding: the browser takes the page of evil.example for this server's own."""
    for path in ("/v1/load", "/healthz", "/", "/v2/health/live"):
        found = client.get(path, headers={"host": "evil.example:8000"})
        assert (found.status_code, found.json()["reason"]) == (421, "forbidden_host")


def test_pages_of_other_origins_are_refused_and_own_ones_are_not(client, server):
    def ask(**headers):
        return client.post("/v1/predict", content=png(), headers=PNG | headers)

    assert ask(origin="https://evil.example").json()["reason"] == "forbidden_origin"
    assert ask(origin="null").status_code == 403
    assert ask(origin="http://localhost:3000").status_code == 403  # another server of this machine
    assert client.get("/v1/load", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    own = ask(origin=server.url)
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers
    preflight = client.options("/v1/predict", headers={"origin": "https://evil.example"})
    assert preflight.status_code == 403


def test_an_origin_that_was_allowed_may_read_and_no_other(net):
    with (
        running([resident_of(net)], settings(allow_origins=("https://good.example",))) as server,
        client_of(server) as client,
    ):
        good, bad = {"origin": "https://good.example"}, {"origin": "https://good.example.evil.example"}
        assert client.options("/v1/predict", headers=good).status_code == 204
        found = client.post("/v1/predict", content=png(), headers=PNG | good)
        assert found.headers["access-control-allow-origin"] == "https://good.example"
        assert client.post("/v1/predict", content=png(), headers=PNG | bad).status_code == 403


@pytest.mark.parametrize(
    ("given", "host", "known"),
    [
        ({}, "localhost:8000", True),
        ({}, "[::1]:8000", True),
        ({}, "192.0.2.1:8000", False),
        ({}, "", False),
        ({}, "localhost.evil.example", False),
        ({"host": "0.0.0.0"}, "192.0.2.1:8000", True),  # an address is no name that leads elsewhere
        ({"host": "0.0.0.0"}, "evil.example", False),
        ({"host": "0.0.0.0", "allow_hosts": ("api.example",)}, "API.example:80", True),
        ({"allow_hosts": ("*",)}, "any.example", True),
    ],
)
def test_hosts_that_are_answered(given, host, known):
    origins = Origins(Settings(**given))
    if known:
        assert origins.check({"host": host}) is None
    else:
        with pytest.raises(Problem, match="does not answer under that Host"):
            origins.check({"host": host})


def test_keys_are_asked_for_everywhere_but_at_health_and_never_in_addresses(net, tmp_path):
    file = tmp_path / "keys"
    digest = hashlib.sha256(b"the-second-key-of-all").hexdigest()
    file.write_text(f"# clients\nrobot the-first-key-of-all\ncamera sha256:{digest}\n", encoding="utf-8")
    with (
        running([resident_of(net)], settings(keys=ApiKeys.read(file))) as server,
        client_of(server) as client,
    ):
        for path in ("/v1/load", "/v1/models", "/metrics", "/v2/models/small"):
            found = client.get(path)
            assert (found.status_code, found.json()["reason"]) == (401, "unauthorised")
            assert found.headers["www-authenticate"] == "Bearer"
            assert client.get(path + "?api_key=the-first-key-of-all").status_code == 401
            assert client.get(path, headers={"x-api-key": "the-first-key-of-al"}).status_code == 401
        for key in ("the-first-key-of-all", "the-second-key-of-all"):
            assert client.get("/v1/load", headers={"authorization": f"Bearer {key}"}).status_code == 200
            assert client.get("/v1/load", headers={"x-api-key": key}).status_code == 200
        assert client.get("/healthz").status_code == 200
        assert client.post("/v1/predict", content=png(), headers=PNG).status_code == 401


def test_every_key_is_compared_whichever_it_is(monkeypatch):
    compared = []

    def compare(first, second):
        compared.append(second)
        return first == second

    monkeypatch.setattr("anytimenet.serving.http.keys.hmac.compare_digest", compare)
    keys = ApiKeys({str(at): hashlib.sha256(b"%d" % at).digest() for at in range(5)})
    assert keys.client_of("0") == "0"
    assert len(compared) == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no key"),
        ("robot\n", "line 1: a name and a key"),
        ("robot short\n", "line 1: a key needs 16 characters"),
        ("robot sha256:12\n", "64 hexadecimal digits"),
        ("a 0123456789abcdef\na 0123456789abcdeg\n", "line 2: 'a' has a key already"),
    ],
)
def test_a_file_of_keys_that_is_none_is_refused_without_quoting_it(tmp_path, text, words):
    file = tmp_path / "keys"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=words) as raised:
        ApiKeys.read(file)
    assert "short" not in str(raised.value)


def test_a_client_has_limits_of_its_own(net):
    limits = Limits(client_rate_hz=0.05)  # a second one only after 20 seconds
    with running([resident_of(net)], settings(limits=limits)) as server, client_of(server) as client:
        codes = [client.post("/v1/predict", content=png(), headers=PNG) for _ in range(6)]
        refused = [one for one in codes if one.status_code == 429]
        assert codes[0].status_code == 200
        assert refused
        assert refused[0].json()["reason"] == "client_limit"
        assert int(refused[0].headers["retry-after"]) >= 1
        assert client.get("/healthz").status_code == 200


def stalled(server) -> socket.socket:
    """A client that has sent half of what it announced, and then nothing."""
    client = socket.create_connection(server.address, timeout=20)
    host = server.url.removeprefix("http://")
    client.sendall(
        f"POST /v1/predict HTTP/1.1\r\nhost: {host}\r\ncontent-type: image/png\r\n"
        f"content-length: 1000\r\n\r\n{'x' * 500}".encode()
    )
    return client


def all_of(client: socket.socket) -> bytes:
    """What a client reads until the server closes."""
    found = b""
    while more := client.recv(4096):
        found += more
    return found


def test_half_a_body_and_slow_headers_are_given_up(net, parser):
    limits = Limits(body_seconds=0.3, header_seconds=0.3)
    with running([resident_of(net)], settings(limits=limits)) as server, client_of(server) as client:
        with stalled(server) as half:
            answer = all_of(half)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b'"reason": "timeout"' in answer
        with socket.create_connection(server.address, timeout=20) as silent:
            silent.sendall(b"POST /v1/predict HTTP/1.1\r\nhost: ")
            with suppress(ConnectionResetError):
                assert silent.recv(100) == b""
        # Not at the first try where this process was held up between a header and its body.
        wait_for(lambda: client.post("/v1/predict", content=png(), headers=PNG).status_code == 200)
        wait_for(lambda: server.service.under_way == 0)
        wait_for(lambda: server.service.bodies.held_bytes == 0)


def test_clients_that_stall_take_their_places_and_no_more(net):
    limits = Limits(concurrent=3, body_seconds=300.0)
    with running([resident_of(net)], settings(limits=limits)) as server, client_of(server) as client:
        halves = [stalled(server) for _ in range(3)]
        wait_for(lambda: server.service.under_way == 3)
        found = client.post("/v1/predict", content=png(), headers=PNG)
        assert (found.status_code, found.json()["reason"]) == (503, "overload")
        assert found.headers["retry-after"] == "1"
        assert client.get("/v1/load").status_code == 200  # what tells of the load goes on
        for one in halves:
            one.close()
        wait_for(lambda: server.service.under_way == 0)
        assert client.post("/v1/predict", content=png(), headers=PNG).status_code == 200


def test_what_all_bodies_hold_together_is_bounded(net):
    limits = Limits(buffered_bytes=10_000)
    with running([resident_of(net)], settings(limits=limits)) as server, client_of(server) as client:
        found = client.post("/v1/predict", content=bytes(20_000), headers=PNG)
        assert (found.status_code, found.json()["reason"]) == (503, "overload")
        wait_for(lambda: server.service.bodies.held_bytes == 0)


@pytest.fixture(params=["httptools_impl.HttpToolsProtocol", "h11_impl.H11Protocol"])
def parser(request, monkeypatch):
    """The server with the one parser and with the other."""
    module, _, name = request.param.partition(".")
    if module.startswith("httptools"):
        pytest.importorskip("httptools")
    protocol = getattr(importlib.import_module(f"uvicorn.protocols.http.{module}"), name)
    monkeypatch.setattr(running_module, "protocol_with", lambda limits: protocol_with(limits, protocol))


def test_answers_pipelined_requests_and_idle_connections_are_kept(net, parser):
    """Of one that is idle nothing is on its way: no time of headers runs, and nobody closes it."""
    one = b"POST /v1/predict?top=1 HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/png\r\n"
    one += b"content-length: %d\r\n\r\n" % len(png()) + png()
    with (
        running([resident_of(net)]) as server,
        socket.create_connection(server.address, timeout=20) as client,
    ):
        client.sendall(one + one[:40])
        found = b""
        while found.count(b"request_id") < 1:
            found += client.recv(65536)
        client.sendall(one[40:])
        while found.count(b"request_id") < 2:
            found += client.recv(65536)
        (connection,) = server.server.server_state.connections
        assert connection._slow is None
        client.sendall(one[:40])
        wait_for(lambda: connection._slow is not None)  # else there would be no time that could run
        client.sendall(one[40:])
        while found.count(b"request_id") < 3:
            found += client.recv(65536)
        assert found.count(b"HTTP/1.1 200") == 3


@pytest.mark.parametrize("pieces", [1, 40])
def test_whole_headers_that_are_too_long_are_refused(net, parser, pieces):
    limits = Limits(header_bytes=2048)
    sent = b"GET /v1/load HTTP/1.1\r\nhost: 127.0.0.1\r\n" + b"".join(
        b"x-%d: " % at + b"y" * 100 + b"\r\n" for at in range(40)
    )
    sent += b"\r\n"
    with (
        running([resident_of(net)], settings(limits=limits)) as server,
        socket.create_connection(server.address, timeout=20) as client,
    ):
        step = -(-len(sent) // pieces)
        with suppress(ConnectionError):
            for start in range(0, len(sent), step):
                client.sendall(sent[start : start + step])
                time.sleep(0.002)
        with suppress(ConnectionError):
            assert client.recv(4096).startswith(b"HTTP/1.1 400")


def test_headers_without_end_are_refused_in_json(net, parser):
    limits = Limits(header_bytes=2048)
    with (
        running([resident_of(net)], settings(limits=limits)) as server,
        socket.create_connection(server.address, timeout=20) as client,
    ):
        client.sendall(b"GET /v1/load HTTP/1.1\r\nx: " + b"y" * 10_000)
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b'"reason": "bad_request"' in answer


def test_more_connections_than_there_may_be_are_closed(net):
    limits = Limits(connections=2)
    with running([resident_of(net)], settings(limits=limits)) as server:
        open_ones = [socket.create_connection(server.address, timeout=20) for _ in range(5)]
        wait_for(lambda: len(server.server.server_state.connections) == 2)
        for one in open_ones:
            one.close()


def test_a_fault_of_ours_is_logged_and_not_told(net, caplog, monkeypatch):
    resident = resident_of(net)

    def fail(*_):
        raise RuntimeError("a secret of /etc/passwd")

    with running([resident], settings()) as server, client_of(server) as client:
        monkeypatch.setattr(resident.server, "submit", fail)
        found = client.post("/v1/predict", content=png(), headers=PNG)
    assert (found.status_code, found.json()) == (
        500,
        {"error": "the server failed at this request", "reason": "failed"},
    )
    assert "a secret" in caplog.text
