"""The client keeps deadlines as its caller means them: its way counts, retries fit in, and it never hangs."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.unit.serving.http.conftest import exported, net, server  # noqa: F401
from tests.unit.serving.http.serving import png

from anytimenet.core.errors import DataError
from anytimenet.serving.client import AsyncClient, Client, ServerError

ANSWER = {
    "model": "small",
    "label": "a",
    "labels": ["a"],
    "level": 1,
    "stage": 1,
    "stages": 2,
    "probability": 0.9,
    "probabilities": [{"label": "a", "index": 0, "probability": 0.9}],
    "late": False,
    "timings": {"queued_ms": 0.0, "run_ms": 1.0, "total_ms": 10.0},
    "request_id": "1",
}


class Clock:
    """Seconds that pass when somebody says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def client_with(handle, clock) -> Client:
    return Client("http://test", options={"transport": httpx.MockTransport(handle)}, clock=clock)


def test_against_the_server_every_kind_of_image_is_answered_alike(server, tmp_path):  # noqa: F811
    content = png(5)
    path = tmp_path / "image.png"
    path.write_bytes(content)
    image = Image.open(path)
    with Client(server.url) as client:
        answers = [client.predict(one) for one in (content, path, str(path), image, np.asarray(image))]
        assert len({one.probability for one in answers}) == 1
        assert answers[0].stage == 3
        assert answers[0].round_trip_ms > answers[0].server_ms > 0
        assert client.reserve_ms > 0
        stages = list(client.stream(content))
        assert [one.final for one in stages] == [False] * (len(stages) - 1) + [True]
        assert stages[-1].label == answers[0].label
        assert client.model()["name"] == "small"
        assert "small" in client.load()["models"]
        with pytest.raises(ServerError, match="bad_image"):
            client.predict(b"no image")
        with pytest.raises(DataError, match="cannot be read"):
            client.predict(tmp_path / "nowhere.png")


def test_asyncio_has_the_same(server):  # noqa: F811
    async def ask():
        async with AsyncClient(server.url) as client:
            first, second = await asyncio.gather(client.predict(png(1)), client.predict(png(2), top=0))
            stages = [one async for one in client.stream(png(1))]
            with pytest.raises(ServerError, match="bad_request"):
                await client.predict(png(1), min_stage=99)
            return first, second, stages

    first, second, stages = asyncio.run(ask())
    assert first.label == stages[-1].label
    assert len(second.probabilities) == 12


def test_the_way_that_was_measured_is_taken_off_the_deadline():
    clock, deadlines = Clock(), []

    def handle(request):
        deadlines.append(float(request.url.params["deadline_ms"]))
        clock.now += 0.014  # of which the server says it took 10 ms: the way takes 4
        return httpx.Response(200, json=ANSWER)

    with client_with(handle, clock) as client:
        for _ in range(60):
            answer = client.predict(png(), deadline_ms=100)
    assert deadlines[0] == 100
    assert deadlines[1] == pytest.approx(92)  # 4 ms, and twice the deviation of 2 that is supposed at first
    assert deadlines[-1] == pytest.approx(96, abs=0.1)
    assert answer.round_trip_ms == pytest.approx(14)
    assert not answer.late


def test_a_full_server_is_asked_again_when_it_said_and_only_within_the_deadline(monkeypatch):
    clock, asked = Clock(), []
    monkeypatch.setattr("time.sleep", lambda seconds: setattr(clock, "now", clock.now + seconds))

    def handle(request):
        asked.append((clock.now, float(request.url.params["deadline_ms"])))
        if len(asked) < 3:
            told = {"error": "full", "reason": "overload", "retry_after_s": 0.03}
            return httpx.Response(503, json=told, headers={"retry-after": "1"})
        return httpx.Response(200, json=ANSWER)

    with client_with(handle, clock) as client:
        assert client.predict(png(), deadline_ms=100).label == "a"
        assert [moment for moment, _ in asked] == pytest.approx([0, 0.03, 0.06])
        assert [left for _, left in asked] == pytest.approx([100, 70, 40])
        asked.clear()
        with pytest.raises(ServerError, match="overload"):
            client.predict(png(), deadline_ms=25)
        assert len(asked) == 1


@pytest.mark.parametrize("status", [400, 401, 413, 429, 500, 504])
def test_what_another_try_would_not_mend_is_told_at_once(status):
    asked = []

    def handle(request):
        asked.append(request)
        return httpx.Response(status, json={"error": "no", "reason": "because"})

    with client_with(handle, Clock()) as client, pytest.raises(ServerError) as raised:
        client.predict(png(), deadline_ms=1000)
    assert (raised.value.status, raised.value.reason, len(asked)) == (status, "because", 1)


def test_words_of_a_gateway_are_told_as_such():
    def handle(_):
        return httpx.Response(418, text="<html>a teapot</html>")

    with client_with(handle, Clock()) as client, pytest.raises(ServerError, match="bad_gateway"):
        client.predict(png())


def test_a_server_that_accepts_and_says_nothing_holds_nobody_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        with Client(f"http://{host}:{port}", grace_ms=50) as client, pytest.raises(ServerError) as raised:
            client.predict(png(), deadline_ms=1000)
    assert raised.value.reason == "timeout"


def test_a_server_that_starts_again_is_asked_again():
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()

    def start_late():
        time.sleep(0.3)
        with socket.create_server(address) as listening:
            connection, _ = listening.accept()
            connection.recv(65_536)
            body = json.dumps(ANSWER).encode()
            connection.sendall(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
                + body
            )
            connection.recv(1)
            connection.close()

    thread = threading.Thread(target=start_late)
    thread.start()
    with Client("http://{}:{}".format(*address)) as client:
        assert client.predict(png(), deadline_ms=30_000).label == "a"
    thread.join(30)


def test_no_time_is_no_question():
    with (
        client_with(lambda _: pytest.fail("it was sent"), Clock()) as client,
        pytest.raises(ServerError, match="expired"),
    ):
        client.predict(png(), deadline_ms=0)


def test_a_key_is_sent_in_a_header():
    def handle(request):
        assert request.headers["authorization"] == "Bearer a-key"
        assert "a-key" not in str(request.url)
        return httpx.Response(200, json=ANSWER)

    options = {"transport": httpx.MockTransport(handle)}
    with Client("http://test", api_key="a-key", options=options) as client:
        client.predict(png())
