"""A server's life: models replaced while it serves, clients that go away, clocks that jump, and its end."""

from __future__ import annotations

import shutil
import socket
import threading
import time

import httpx
import pytest
from tests.unit.serving.http.serving import (
    PNG,
    client_of,
    export_of,
    png,
    resident_of,
    running,
    small_bundle,
    source_of,
    wait_for,
)

from anytimenet.serving.http.settings import Settings


class Asking(threading.Thread):
    """A client that asks again and again, and keeps what it reads."""

    def __init__(self, server) -> None:
        super().__init__(daemon=True)
        self.server, self.ended = server, threading.Event()
        self.found: list[httpx.Response | Exception] = []
        self.start()

    def run(self) -> None:
        with client_of(self.server) as client:
            while not self.ended.is_set():
                try:
                    self.found.append(client.post("/v1/predict?top=0", content=png(), headers=PNG))
                except httpx.HTTPError as error:
                    self.found.append(error)

    def end(self) -> list[httpx.Response | Exception]:
        self.ended.set()
        self.join(60)
        assert not self.is_alive(), "a client hangs"
        return self.found


def answer_of(seed: int) -> list[float]:
    model = small_bundle(seed)
    import io

    from PIL import Image

    found: list[float] = model.predict(Image.open(io.BytesIO(png())), stage=3).probabilities.tolist()
    return found


def told(response: httpx.Response) -> list[float]:
    return [one["probability"] for one in response.json()["probabilities"]]


def test_a_replaced_folder_is_served_and_no_request_is_dropped(tmp_path):
    folder = export_of(tmp_path / "served", seed=0)
    other = export_of(tmp_path / "other", seed=1)
    source = source_of(folder)
    settings = Settings(port=0, log="errors", watch_s=0.05)
    with running([source.resident()], settings, [source]) as server:
        before = next(iter(server.service.residents))
        clients = [Asking(server) for _ in range(2)]
        wait_for(lambda: all(len(one.found) > 5 for one in clients))
        folder.rename(tmp_path / "old")
        other.rename(folder)
        wait_for(lambda: next(iter(server.service.residents)) is not before)
        seen = len(clients[0].found)
        wait_for(lambda: len(clients[0].found) > seen + 5)
        found = [response for one in clients for response in one.end()]
        wait_for(lambda: before.server.snapshot().closing)
    assert all(isinstance(one, httpx.Response) and one.status_code == 200 for one in found)
    assert told(found[0]) == pytest.approx(answer_of(0), abs=1e-5)
    assert told(found[-1]) == pytest.approx(answer_of(1), abs=1e-5)


def test_a_folder_that_cannot_be_loaded_leaves_the_model_that_is_served(tmp_path):
    folder = export_of(tmp_path / "served", seed=0)
    source = source_of(folder)
    settings = Settings(port=0, log="errors", watch_s=0.05)
    with running([source.resident()], settings, [source]) as server, client_of(server) as client:
        manifest = folder / "manifest.json"
        manifest.write_text(manifest.read_text(encoding="utf-8")[:-100], encoding="utf-8")
        wait_for(lambda: 'result="failed"' in client.get("/metrics").text)
        assert client.post("/v1/predict", content=png(), headers=PNG).status_code == 200
        shutil.rmtree(folder)  # nor does one that is gone
        time.sleep(0.2)
        assert client.post("/v1/predict", content=png(), headers=PNG).status_code == 200


def test_a_client_that_goes_away_cancels_what_it_asked_for(net):
    resident = resident_of(net, ms=5.0)
    with running([resident]) as server:
        begun, release = threading.Event(), threading.Event()
        run = net.backend.run

        def slow(start, stop, state):
            begun.set()
            release.wait(20)
            return run(start, stop, state)

        net.backend.run = slow
        try:
            with socket.create_connection(server.address, timeout=20) as leaving:
                leaving.sendall(
                    b"POST /v1/predict?stream=true HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: image/png\r\n"
                    b"content-length: %d\r\n\r\n" % len(png()) + png()
                )
                assert begun.wait(20)
            wait_for(lambda: not server.server.server_state.connections)
            with client_of(server) as client:
                assert client.get("/v1/load").json()["under_way"] == 1  # and by now the server knows of it
            release.set()
            wait_for(lambda: resident.server.snapshot().outcomes["cancelled"] == 1)
        finally:
            release.set()
            del net.backend.run
        wait_for(lambda: server.service.under_way == 0)
        with client_of(server) as client:
            assert client.post("/v1/predict", content=png(), headers=PNG).status_code == 200
            assert 'outcome="cancelled"} 1.0' in client.get("/metrics").text


class Jumping:
    """A clock that somebody sets."""

    offset: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.offset


def test_a_clock_that_jumps_holds_nobody_up(net):
    clock = Jumping()
    resident = resident_of(net, clock=clock)
    with running([resident], clock=clock) as server, client_of(server) as client:

        def ask(**params):
            return client.post("/v1/predict", content=png(), headers=PNG, params=params)

        for jump in (3600.0, -7200.0, 1e6, -1e6):
            clock.offset += jump
            for params in ({}, {"deadline_ms": 10_000}):
                found = ask(**params)
                assert found.status_code in (200, 503, 504)
                if found.status_code == 200:
                    assert found.json()["timings"]["total_ms"] >= 0
        assert ask().status_code == 200


def test_a_server_that_is_told_to_end_answers_what_it_has_begun(net):
    resident = resident_of(net)
    with running([resident], Settings(port=0, log="errors", watch_s=None, lame_duck_s=300.0)) as server:
        clients = [Asking(server) for _ in range(2)]
        wait_for(lambda: all(len(one.found) > 5 for one in clients))
        with client_of(server) as client:
            server.server._loop.call_soon_threadsafe(server.server.drain)
            wait_for(lambda: client.get("/readyz").status_code == 503)
            # Whoever asks meanwhile is answered: balancers need a moment to hear of it.
            assert client.post("/v1/predict", content=png(), headers=PNG).status_code == 200
        assert server.thread.is_alive()
        server.server._loop.call_soon_threadsafe(server.server._exit)  # that moment is over
        server.thread.join(30)
        assert not server.thread.is_alive()
        found = [response for one in clients for response in one.end()]
    answered = [one for one in found if isinstance(one, httpx.Response)]
    refused = [one for one in found if not isinstance(one, httpx.Response)]
    assert {one.status_code for one in answered} == {200}
    assert all(
        isinstance(one, httpx.ConnectError | httpx.ReadError | httpx.RemoteProtocolError) for one in refused
    )
    assert resident.server.snapshot().closing
