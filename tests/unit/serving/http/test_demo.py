"""The endpoints that make load: only where the operator wants them, bounded, one at a time."""

from __future__ import annotations

import time

from tests.unit.serving.http.serving import client_of, resident_of, running, wait_for

from anytimenet.serving.http.settings import Settings


def test_without_the_flag_there_is_nothing(client):
    assert client.post("/v1/demo/burst", json={"rate_hz": 10, "seconds": 1}).status_code == 404


def test_a_burst_shows_in_the_load_and_ends(net):
    settings = Settings(port=0, log="errors", watch_s=None, demo=True)
    with running([resident_of(net)], settings) as server, client_of(server) as client:
        found = client.post("/v1/demo/burst", json={"rate_hz": 200, "seconds": 0.3})
        assert found.json()["started"] is True
        again = client.post("/v1/demo/burst", json={"rate_hz": 200, "seconds": 0.3})
        assert again.status_code in (200, 429)

        def outcomes() -> int:
            return sum(client.get("/v1/load").json()["models"]["small"]["outcomes"].values())

        wait_for(lambda: outcomes() > 20)
        for wrong in (
            {"rate_hz": 1e9, "seconds": 1},
            {"rate_hz": 10, "seconds": 1e9},
            {"rate_hz": 10},
            {"rate_hz": "x", "seconds": 1},
            {"rate_hz": 10, "seconds": 1, "url": "http://127.0.0.1"},
        ):
            assert client.post("/v1/demo/burst", json=wrong).status_code == 400
        assert client.post("/v1/demo/burst", content=b"{}").status_code == 415


def test_cores_are_stolen_for_as_long_as_was_said(net):
    settings = Settings(port=0, log="errors", watch_s=None, demo=True)
    with running([resident_of(net)], settings) as server, client_of(server) as client:
        assert client.post("/v1/demo/steal", json={"seconds": 0.2, "cores": 1}).status_code == 200
        assert client.post("/v1/demo/steal", json={"seconds": 31}).status_code == 400
        until = time.monotonic() + 30
        while client.post("/v1/demo/steal", json={"seconds": 0.1, "cores": 1}).status_code == 429:
            assert time.monotonic() < until
            time.sleep(0.05)
