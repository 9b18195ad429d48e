"""Load on purpose, for the page that shows what comes of it: a burst of requests, a noisy neighbour.

Both are bounded, one at a time, and only there where the operator said `--demo`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from typing import Any

import numpy as np

from anytimenet.core.errors import AnytimeNetError, suggest
from anytimenet.serving.http.asking import number_in
from anytimenet.serving.http.bodies import Receive
from anytimenet.serving.http.door import VISIT, App, Scope, Send
from anytimenet.serving.http.outcomes import JSON, respond
from anytimenet.serving.http.pictures import json_object
from anytimenet.serving.http.problems import Problem, bad_request
from anytimenet.serving.http.residents import Resident
from anytimenet.serving.http.service import Service
from anytimenet.serving.request import Request

MOST_HZ, MOST_SECONDS, MOST_MS = 2000.0, 30.0, 10_000.0
_TICK_S = 0.002
_SPIN = """
import os, sys, time
end, parent = time.monotonic() + float(sys.argv[1]), int(sys.argv[2])
while time.monotonic() < end and os.getppid() == parent:
    for _ in range(100000):
        pass
"""


class Demo:
    """The two endpoints.

    Args:
        service: whose models get the load.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._burst: asyncio.Task[None] | None = None
        self._thieves: list[subprocess.Popen[bytes]] = []

    async def burst(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`{"rate_hz", "seconds", "deadline_ms", "model"}`: requests at random instants, of noise."""
        asked = await self._asked(scope, receive, {"rate_hz", "seconds", "deadline_ms", "model"})
        rate_hz = number_in(asked, "rate_hz", 0.1, MOST_HZ)
        seconds = number_in(asked, "seconds", 0.1, MOST_SECONDS)
        deadline_ms = number_in(asked, "deadline_ms", 1, MOST_MS, default=100.0)
        resident = self._service.residents.of(asked.get("model"))
        if self._burst is not None and not self._burst.done():
            raise Problem(429, "client_limit", "a burst is under way: wait for its end", 1.0)
        task = self._send_in(resident, rate_hz, seconds, deadline_ms / 1000)
        self._burst = asyncio.get_running_loop().create_task(task)
        await _started(send, rate_hz=rate_hz, seconds=seconds, deadline_ms=deadline_ms)

    async def steal(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`{"seconds", "cores"}`: processes that take whole cores, and do nothing with them."""
        asked = await self._asked(scope, receive, {"seconds", "cores"})
        seconds = number_in(asked, "seconds", 0.1, MOST_SECONDS)
        most = os.cpu_count() or 1
        cores = int(number_in(asked, "cores", 1, most, default=most))
        if any(thief.poll() is None for thief in self._thieves):
            raise Problem(429, "client_limit", "cores are being stolen already: wait for the end", 1.0)
        command = [sys.executable, "-I", "-S", "-c", _SPIN, str(seconds), str(os.getpid())]
        self._thieves = [
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
            for _ in range(cores)
        ]
        await _started(send, seconds=seconds, cores=cores)

    def close(self) -> None:
        """Ends both."""
        if self._burst is not None:
            self._burst.cancel()
        for thief in self._thieves:
            thief.kill()
            thief.wait()

    async def _asked(self, scope: Scope, receive: Receive, known: set[str]) -> dict[str, Any]:
        headers = scope[VISIT].headers
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Problem(415, "unsupported_media_type", "the body must be JSON (application/json)")
        body = await self._service.bodies.read(receive, headers)
        self._service.bodies.let_go(len(body))
        asked = json_object(body)
        if strange := sorted(set(asked) - known):
            raise bad_request(f"no parameter is named {strange[0][:40]!r}: {suggest(strange[0], known)}")
        return asked

    async def _send_in(self, resident: Resident, rate_hz: float, seconds: float, deadline_s: float) -> None:
        """Requests of a Poisson process; what is due between two looks at the clock is sent together."""
        clock, rng = self._service.clock, random.Random(0)
        x = np.random.default_rng(0).standard_normal((1, *resident.manifest.input_shape), dtype=np.float32)
        at, end = clock(), clock() + seconds
        with resident.used():
            while at < end:
                while at <= clock():
                    with suppress(AnytimeNetError):  # it is refused, and the scheduler counts it
                        resident.server.submit(x, Request(at, at + deadline_s), _ignore)
                    at += rng.expovariate(rate_hz)
                await asyncio.sleep(min(max(at - clock(), _TICK_S), 1.0))


def demo_routes(demo: Demo | None) -> list[tuple[str, str, App]]:
    """Paths, methods and what answers them."""
    if demo is None:
        return []
    return [("/v1/demo/burst", "POST", demo.burst), ("/v1/demo/steal", "POST", demo.steal)]


def _ignore(_: object) -> None:
    """The server counts what becomes of a request by itself."""


async def _started(send: Send, **what: float) -> None:
    await respond(send, json.dumps({"started": True, **what}).encode(), [JSON])
