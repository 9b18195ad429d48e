"""A server is given up for what it does not send, and never for what this program did meanwhile."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from tests.unit.runtime.fakes.clock import FakeClock

from anytimenet.core.delivery.patience import READ_S, Patience, Watch
from anytimenet.core.delivery.wire import Wire
from anytimenet.core.errors import UnreachableError

PATIENCE = Patience(silence_s=3.0, slowest=100.0)


@pytest.fixture
def watch() -> tuple[Watch, FakeClock]:
    clock = FakeClock()
    return Watch("http://test/", PATIENCE, clock, threading.Event()), clock


def read(watch: Watch, clock: FakeClock, seconds: float, *, heard: bool) -> None:
    watch.waits()
    clock.advance(seconds)
    watch.waited(heard=heard)
    watch.check()


def test_silence_is_what_reads_waited_for_in_vain(watch):
    for _ in range(14):
        read(*watch, READ_S, heard=False)
    read(*watch, 0.01, heard=True)
    watch[0].received(1000)
    for _ in range(14):
        read(*watch, READ_S, heard=False)
    read(*watch, READ_S - 0.01, heard=False)
    with pytest.raises(UnreachableError, match="nothing came for 3 s"):
        read(*watch, READ_S, heard=False)


def test_a_body_that_drips_is_given_up_by_its_rate(watch):
    for _ in range(19):
        read(*watch, 0.16, heard=True)
        watch[0].received(1)
    with pytest.raises(UnreachableError, match="19 bytes came in 3 s, which is too slow"):
        read(*watch, 0.16, heard=True)  # 3.2 s, and 19 bytes may take 3.19


def test_a_program_that_is_stopped_or_busy_between_reads_has_not_waited(watch):
    """It was suspended, or its disk was slow: what came meanwhile lies ready."""
    found, clock = watch
    for _ in range(10):
        clock.advance(3600.0)
        read(found, clock, 0.0, heard=True)


def test_a_program_that_is_stopped_within_a_read_has_waited_for_no_longer_than_one_lasts(watch):
    for heard in (False, True, False):
        read(*watch, 3600.0, heard=heard)


@pytest.fixture
def wires() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield here, there


def test_what_came_before_a_pause_is_read_after_it(watch, wires):
    found, clock = watch
    here, there = wires
    with Wire(here, found).makefile() as answer:
        for sent in (b"one", b"two"):
            there.sendall(sent)
            clock.advance(3600.0)
            assert answer.read1(10) == sent
