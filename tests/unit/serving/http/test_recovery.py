"""A bad moment passes: a server that once found its machine slow lets somebody in again, and learns."""

from __future__ import annotations

import time

from tests.unit.serving.http.serving import PNG, client_of, png, resident_of, running


def test_a_slowdown_that_was_believed_too_long_is_doubted(net):
    resident = resident_of(net, ms=1.0)
    with running([resident]) as server, client_of(server) as client:

        def ask():
            params = {"deadline_ms": 2000}
            return client.post("/v1/predict", content=png(), headers=PNG, params=params).status_code

        assert ask() == 200
        for _ in range(40):
            resident.server._engine._scheduler.costs.slowdown.observe(1.0, 1e6)
        assert resident.server.snapshot().slowdown > 1e4
        assert ask() == 504
        until = time.monotonic() + 60
        while ask() != 200:
            assert time.monotonic() < until, "everybody is refused for ever"
            time.sleep(0.1)
