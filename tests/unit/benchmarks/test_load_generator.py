"""The load generator: its schedules are what they say, late requests count as late, answers come whole."""

from __future__ import annotations

import importlib
import itertools
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def load(name: str) -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(f"serving.{name}")
    finally:
        sys.path.remove(str(BENCHMARKS))


arrivals, wire, generator, null_server = map(load, ("arrivals", "wire", "generator", "null_server"))


# --- schedules


@pytest.mark.parametrize("seed", range(3))
def test_a_poisson_schedule_has_exponential_gaps_and_poisson_counts(seed: int) -> None:
    """Gaps follow 1 - exp(-rate t) (Kolmogorov-Smirnov at 0.1 %); counts vary as much as their mean."""
    rate, seconds = 200.0, 100.0
    times = arrivals.poisson(rate, seconds, seed)
    gaps = np.sort(np.diff(times, prepend=0.0))
    empirical = np.arange(1, gaps.size + 1) / gaps.size
    distance = np.abs(empirical - (1 - np.exp(-rate * gaps))).max()
    assert distance < 1.95 / np.sqrt(gaps.size)
    counts = np.histogram(times, bins=1000, range=(0, seconds))[0]
    # Var / mean of 1000 Poisson counts is 1 within 4.5 standard errors of sqrt(2 / 999).
    assert counts.var(ddof=1) / counts.mean() == pytest.approx(1, abs=4.5 * np.sqrt(2 / 999))
    assert counts.mean() == pytest.approx(rate * seconds / 1000, abs=4.5 * np.sqrt(rate * seconds) / 1000)


def test_bursts_are_a_quarter_of_the_time_at_three_times_the_mean() -> None:
    times = arrivals.bursts(400, 50, seed=0)
    inside = (times % 1.0) < 0.25
    assert inside.sum() == pytest.approx(0.75 * 400 * 50, abs=4.5 * np.sqrt(0.75 * 400 * 50))
    assert (~inside).sum() == pytest.approx(0.25 * 400 * 50, abs=4.5 * np.sqrt(0.25 * 400 * 50))


def test_a_day_follows_its_sine() -> None:
    """The share before t is t / T - swing sin(2 pi t / T) / 2 pi, the integral of the rate."""
    times, swing = arrivals.diurnal(500, 60, seed=0, swing=0.8), 0.8
    at = times / 60
    expected = at - swing * np.sin(2 * np.pi * at) / (2 * np.pi)
    empirical = np.arange(1, at.size + 1) / at.size
    assert np.abs(empirical - expected).max() < 1.95 / np.sqrt(at.size)
    assert at.size == pytest.approx(500 * 60, abs=4.5 * np.sqrt(500 * 60))


@pytest.mark.parametrize("shape", ["poisson", "bursts", "diurnal"])
def test_a_seed_is_a_schedule_that_rises_within_its_length(shape: str) -> None:
    make = arrivals.SHAPES[shape]
    one, again, other = make(100, 3, 5), make(100, 3, 5), make(100, 3, 6)
    assert np.array_equal(one, again)
    assert not np.array_equal(one[:10], other[:10])
    assert (np.diff(one) > 0).all()
    assert 0 <= one[0] < one[-1] < 3


def test_schedules_refuse_what_is_none() -> None:
    with pytest.raises(ValueError, match="above 0"):
        arrivals.poisson(0, 1, 0)
    with pytest.raises(ValueError, match="1 to 4"):
        arrivals.bursts(1, 1, 0, high=5)
    with pytest.raises(ValueError, match="0 to 1"):
        arrivals.diurnal(1, 1, 0, swing=2)


# --- answers


def chunked(body: bytes, sizes: list[int]) -> bytes:
    pieces, at = [], 0
    for size in sizes:
        piece = body[at : at + size]
        if piece:
            pieces.append(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece))
        at += size
    if body[at:]:
        pieces.append(b"%x\r\n%s\r\n" % (len(body) - at, body[at:]))
    head = b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    return head + b"".join(pieces) + b"0\r\n\r\n"


def sized(body: bytes) -> bytes:
    return b"HTTP/1.1 503 Busy\r\nserver: x\r\nCONTENT-length: %d\r\nConnection: close\r\n\r\n%s" % (
        len(body),
        body,
    )


@given(
    body=st.binary(max_size=100),
    sizes=st.lists(st.integers(1, 100), max_size=4),
    cuts=st.lists(st.integers(0, 1000), max_size=8),
    whole=st.booleans(),
)
def test_an_answer_is_the_same_in_whatever_pieces_it_comes(
    body: bytes, sizes: list[int], cuts: list[int], whole: bool
) -> None:
    sent = sized(body) if whole else chunked(body, sizes)
    reader, answers = wire.Reader(), []
    borders = sorted({0, len(sent), *(cut % len(sent) for cut in cuts)})
    for start, stop in itertools.pairwise(borders):
        answers.append(reader.feed(sent[start:stop]))
    assert answers[:-1] == [None] * (len(answers) - 1)
    assert answers[-1] == wire.Answer(503, body, keep=False)


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        b"x" * 20_000,
    ],
)
def test_what_is_no_answer_is_an_error(sent: bytes) -> None:
    with pytest.raises(ValueError):
        wire.Reader().feed(sent)


# --- the loop


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[socket.socket], None]], tuple[str, int]]]:
    """Starts a handler of connections in threads; everything is closed at the end."""
    listeners: list[socket.socket] = []

    def start(handle: Callable[[socket.socket], None]) -> tuple[str, int]:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=_guarded, args=(handle, client), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        host, port = listener.getsockname()[:2]
        return str(host), int(port)

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _guarded(handle: Callable[[socket.socket], None], client: socket.socket) -> None:
    with client:
        try:
            handle(client)
        except OSError:
            return


def requests_of(client: socket.socket) -> Iterator[bytes]:
    """Bodies of the requests of one connection."""
    got = b""
    while True:
        while b"\r\n\r\n" not in got:
            piece = client.recv(65536)
            if not piece:
                return
            got += piece
        head, _, got = got.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        while len(got) < length:
            got += client.recv(65536)
        yield got[:length]
        got = got[length:]


def echo(client: socket.socket) -> None:
    for body in requests_of(client):
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def encoded(bodies: list[bytes]) -> list[bytes]:
    return [wire.encode("/x", body, "image/png") for body in bodies]


def test_every_request_gets_its_own_answer(serve: Callable[..., tuple[str, int]]) -> None:
    bodies = [b"%d" % i * (1 + i * 17 % 5000) for i in range(200)]
    run = generator.drive(serve(echo), encoded(bodies), arrivals.poisson(1000, 0.4, 0)[:200])
    assert run.bodies == bodies
    assert (run.status == 200).all()
    assert (run.sent >= run.intended).all()
    assert (run.answered >= run.sent).all()
    assert np.allclose(run.lag, run.sent - run.intended)


def test_the_null_server_answers(serve: Callable[..., tuple[str, int]]) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=null_server.serve, args=(listener,), daemon=True).start()
    run = generator.drive(listener.getsockname()[:2], encoded([b"x" * 3000] * 50), np.linspace(0, 0.05, 50))
    assert run.bodies == [null_server.BODY] * 50


def test_requests_leave_while_others_are_out(serve: Callable[..., tuple[str, int]]) -> None:
    """The server answers nothing before it has all ten: a closed loop would wait for ever."""
    together = threading.Barrier(10, timeout=10)

    def wait(client: socket.socket) -> None:
        for _ in requests_of(client):
            together.wait()
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    run = generator.drive(serve(wait), encoded([b""] * 10), np.linspace(0, 0.02, 10), patience_s=10)
    assert (run.status == 200).all()
    assert run.connections >= 10


def test_a_request_without_a_connection_is_late_and_says_so(serve: Callable[..., tuple[str, int]]) -> None:
    """One connection, 30 ms an answer, three at once: latency counts from when each was meant to go."""
    release = threading.Event()

    def slow(client: socket.socket) -> None:
        for _ in requests_of(client):
            release.wait(0.03)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    run = generator.drive(serve(slow), encoded([b""] * 3), np.array([0.0, 0.001, 0.002]), connections=1)
    assert run.connections == 1
    assert (run.status == 200).all()
    assert (run.lag[1:] >= [0.025, 0.05]).all()
    assert (run.latency[1:] >= run.lag[1:]).all()
    assert run.latency[2] >= 0.085


def test_silence_and_nonsense_are_told_apart(serve: Callable[..., tuple[str, int]]) -> None:
    def odd(client: socket.socket) -> None:
        for body in requests_of(client):
            if body == b"silence":
                client.recv(1)  # until the other side has had enough
            elif body == b"hang up":
                return
            elif body == b"nonsense":
                client.sendall(b"hello\r\n\r\n")
            else:
                client.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    bodies = [b"silence", b"hang up", b"nonsense", b"busy"]
    run = generator.drive(serve(odd), encoded(bodies), np.array([0.0, 0.01, 0.02, 0.03]), patience_s=2.0)
    assert run.status.tolist() == [generator.LOST, generator.BROKEN, generator.BROKEN, 503]
    assert np.isnan(run.answered[:3]).all()
    assert np.isfinite(run.lag).all()


def test_only_this_machine_and_only_so_much() -> None:
    one = encoded([b""])
    with pytest.raises(ValueError, match="loopback"):
        generator.drive(("192.0.2.1", 80), one, np.zeros(1))
    with pytest.raises(ValueError, match="at most"):
        generator.drive(("127.0.0.1", 9), one, np.array([1e6]))
    with pytest.raises(ValueError, match="1 requests for 2"):
        generator.drive(("127.0.0.1", 9), one, np.zeros(2))


def test_a_run_comes_back_from_its_file(tmp_path: Path) -> None:
    nan = float("nan")
    run = generator.Run(
        np.array([0.0, 1.0]), np.array([0.1, nan]), np.array([0.3, nan]), np.array([200, 0]), [b"ab", b""], 3
    )
    run.save(tmp_path / "run.npz")
    again = generator.Run.load(tmp_path / "run.npz")
    assert again.bodies == run.bodies
    assert again.connections == 3
    assert np.allclose(again.lag, [0.1, np.inf])
    assert np.allclose(again.latency, [0.3, nan], equal_nan=True)
