"""On one core the loop runs the segments: with the same answers, refusals, and end."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from tests.unit.serving.http.serving import PNG, client_of, png, resident_of, running, wait_for

from anytimenet.serving.http import turns
from anytimenet.serving.http.settings import Settings
from anytimenet.serving.request import Done, Request

SETTINGS = Settings(port=0, log="errors", watch_s=None)


@pytest.fixture
def alone(monkeypatch):
    """As if the process had one core."""
    monkeypatch.setattr(turns, "cores_here", lambda: 1)


def threads_that_ran(net, monkeypatch):
    found, run = set(), net.backend.run
    monkeypatch.setattr(
        net.backend, "run", lambda *given: (found.add(threading.current_thread().name), run(*given))[1]
    )
    return found


def short(net, **more):
    """A model that counts as one that may run in the loop, though its backend cannot be interrupted."""
    resident = resident_of(net, **more)
    resident.server.is_short = True
    return resident


def until_driven(resident, driven=True):
    """The loop looks again and again at whether it is alone."""
    wait_for(lambda: (resident.server._engine.wake is not None) == driven)


def test_the_loop_runs_the_segments_and_answers_the_same(net, alone, monkeypatch):
    ran = threads_that_ran(net, monkeypatch)
    resident = short(net)
    with running([resident], SETTINGS) as server, client_of(server) as client:
        name = server.thread.name
        until_driven(resident)
        ran.clear()
        found = [client.post("/v1/predict?top=0", content=png(at), headers=PNG).json() for at in range(10)]
        assert ran == {name}
        monkeypatch.setattr(turns, "cores_here", lambda: 2)
        until_driven(resident, False)
        ran.clear()
        again = [client.post("/v1/predict?top=0", content=png(at), headers=PNG).json() for at in range(10)]
        assert ran == {"anytimenet-engine-0"}
    assert [one["probabilities"] for one in found] == [one["probabilities"] for one in again]


def test_a_long_net_and_other_cores_leave_it_to_threads(net, monkeypatch):
    ran = threads_that_ran(net, monkeypatch)
    for cores, is_short in ((1, False), (2, True)):
        monkeypatch.setattr(turns, "cores_here", lambda cores=cores: cores)
        resident = resident_of(net)
        resident.server.is_short = is_short
        with running([resident], SETTINGS) as server, client_of(server) as client:
            time.sleep(0.1)  # it has looked by then
            ran.clear()
            assert client.post("/v1/predict", content=png(), headers=PNG).status_code == 200
            assert ran == {"anytimenet-engine-0"}


def test_many_clients_and_streams_at_once(net, alone):
    with running([short(net)], SETTINGS) as server:
        statuses: list[int] = []

        def ask(path: str) -> None:
            with client_of(server) as client:
                statuses.extend(client.post(path, content=png(), headers=PNG).status_code for _ in range(10))

        asking = [
            threading.Thread(target=ask, args=(path,))
            for path in ("/v1/predict", "/v1/predict?stream=true", "/v1/predict?deadline_ms=5000") * 2
        ]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
        assert statuses == [200] * 60
        status = next(iter(server.service.residents)).server.snapshot()
        assert (status.waiting, status.paused, status.running) == (0, 0, 0)
        wait_for(lambda: server.service.under_way == 0)


def test_a_request_that_came_from_another_thread_wakes_the_loop(net, alone):
    resident = short(net)
    with running([resident], SETTINGS):
        until_driven(resident)
        updates: list[object] = []
        now = time.monotonic()
        x = np.zeros((1, *net.manifest.input_shape), np.float32)
        resident.server.submit(x, Request(now, now + 30), updates.append)
        wait_for(lambda: bool(updates))
        assert isinstance(updates[-1], Done)
