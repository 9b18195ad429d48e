"""Time that is lost around the scheduler is measured, and kept free before deadlines."""

from __future__ import annotations

import asyncio
import selectors
import socket
import time
from typing import Any

import numpy as np
import pytest

from anytimenet.serving.http.delays import TimedSelector, WayBack, arrived_since, timed_loop


def test_a_busy_loop_knows_since_when_a_message_may_have_waited() -> None:
    """The message is sent while the loop is kept busy: it is told to have come before that, and not now."""
    here, there = socket.socketpair()
    here.setblocking(False)
    found: list[tuple[float, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        read = asyncio.Event()

        def readable() -> None:
            since = arrived_since(loop)
            assert since is not None
            found.append((since, time.monotonic()))
            here.recv(10)
            read.set()

        loop.add_reader(here, readable)
        await asyncio.sleep(0.01)
        begun = time.monotonic()
        there.send(b"x")
        while time.monotonic() < begun + 0.05:
            pass
        await read.wait()
        found.append((begun, begun + 0.05))

    with asyncio.Runner(loop_factory=timed_loop) as runner, here, there:
        runner.run(main())
    (since, now), (sent, busy_until) = found
    assert since <= sent
    assert now >= busy_until


def test_a_look_that_takes_long_is_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is descheduled while it looks has not waited: the message was there before."""
    here, there = socket.socketpair()
    with TimedSelector() as selector, here, there:
        selector.register(here, selectors.EVENT_READ)
        selector.select(0)
        sent = time.monotonic()
        there.send(b"x")
        look = selectors.DefaultSelector.select

        def slowly(self: TimedSelector, timeout: float | None = None) -> Any:
            time.sleep(0.01)
            return look(self, timeout)

        monkeypatch.setattr(selectors.DefaultSelector, "select", slowly)
        assert selector.select(None)
        assert selector.since <= sent


def test_an_idle_loop_says_that_a_message_is_new() -> None:
    here, there = socket.socketpair()
    here.setblocking(False)
    told: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        read = asyncio.Event()

        def readable() -> None:
            told.append(arrived_since(loop) or 0.0)
            here.recv(10)
            read.set()

        loop.add_reader(here, readable)
        loop.call_later(0.1, there.send, b"x")
        await read.wait()

    begun = time.monotonic()
    with asyncio.Runner(loop_factory=timed_loop) as runner, here, there:
        runner.run(main())
    assert told[0] >= begun + 0.09


def test_the_way_back_is_the_mean_and_the_deviation() -> None:
    """Of times that alternate between 1 and 3 ms: 2 ms, and nearly 1 ms."""
    way = WayBack()
    for number in range(2000):
        way.took(0.001 if number % 2 else 0.003)
    assert way.reserve_s(1.0) == pytest.approx(0.003, rel=0.05)


def test_one_pause_does_not_refuse_whoever_comes_next() -> None:
    way = WayBack()
    for _ in range(500):
        way.took(0.0005)
    way.took(5.0)
    assert way.reserve_s(0.025) <= 0.00251
    assert way.reserve_s(0.001) == pytest.approx(0.0001)
    assert WayBack().reserve_s(0.0) == 0
    assert np.isfinite(way.reserve_s(60.0))
