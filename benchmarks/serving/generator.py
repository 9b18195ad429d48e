"""An open loop over raw sockets: every request leaves at its instant, whether or not others have come back.

Runs as a process of its own, on a core of its own:

    python benchmarks/serving/generator.py PLAN.npz RESULT.npz

One thread, one epoll. A connection carries one request at a time and is used again; when none is free
another one is opened, up to a bound. Latency is counted from the instant that a request was *meant* to leave
at (a generator that is late, or short of connections, must not flatter the server: "coordinated omission"),
and how late it really left is kept for every request, so that a run whose generator was the bottleneck can be
thrown away.
"""

from __future__ import annotations

import gc
import ipaddress
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from serving.wire import Reader

CONNECTIONS = 4096
LONGEST_S, MOST = 120.0, 200_000
"""Bounds of one run: seconds of its schedule, and requests."""
LOST, BROKEN = 0, 1
"""In place of a status: no answer within the patience; a connection that failed or answered nonsense."""


@dataclass
class Run:
    """What became of every request, in the order of the schedule; times in seconds from the start.

    Attributes:
        intended: when it was meant to leave.
        sent: when it left; NaN where it never did.
        answered: when its answer was complete; NaN where none came.
        status: of HTTP, or LOST or BROKEN.
        bodies: of the answers.
        connections: most that were open at a time.
    """

    intended: np.ndarray
    sent: np.ndarray
    answered: np.ndarray
    status: np.ndarray
    bodies: list[bytes] = field(repr=False)
    connections: int

    @property
    def latency(self) -> np.ndarray:
        """Seconds from the intended instant to the whole answer; NaN where none came."""
        return self.answered - self.intended

    @property
    def lag(self) -> np.ndarray:
        """Seconds from the intended instant to when the request really left; inf if it never did."""
        return np.where(np.isnan(self.sent), np.inf, self.sent - self.intended)

    def save(self, path: Path) -> None:
        """Writes it for the process that started this one."""
        ends = np.cumsum([len(body) for body in self.bodies], dtype=np.int64)
        joined = np.frombuffer(b"".join(self.bodies), np.uint8)
        arrays = {
            "intended": self.intended,
            "sent": self.sent,
            "answered": self.answered,
            "status": self.status,
        }
        np.savez(path, **arrays, bodies=joined, ends=ends, connections=self.connections)

    @classmethod
    def load(cls, path: Path) -> Run:
        """The run that `save` wrote."""
        with np.load(path) as kept:
            joined, ends = kept["bodies"].tobytes(), kept["ends"]
            begins = [0, *ends[:-1]] if ends.size else []
            bodies = [joined[a:b] for a, b in zip(begins, ends, strict=True)]
            named = (kept[name] for name in ("intended", "sent", "answered", "status"))
            return cls(*named, bodies, int(kept["connections"]))


def drive(
    address: tuple[str, int],
    requests: Sequence[bytes],
    intended: np.ndarray,
    *,
    patience_s: float = 2.0,
    connections: int = CONNECTIONS,
    clock: Callable[[], float] = time.perf_counter,
) -> Run:
    """Sends `requests[i]` at `intended[i]`, and waits for what is out at the end for `patience_s`.

    Args:
        address: of the server, on this machine.
        requests: encoded, one for each instant.
        intended: rising, in seconds from the start.
        patience_s: how long after its intended instant an answer is waited for, and its connection closed.
        connections: most that are open at a time; a request that finds none free leaves late: lag.
        clock: seconds.

    Raises:
        ValueError: for an address of another machine, more than the bounds, or as many requests as instants.
    """
    if not ipaddress.ip_address(address[0]).is_loopback:
        raise ValueError(f"only this machine is put under load, by a loopback address, not {address[0]}")
    if len(requests) != len(intended):
        raise ValueError(f"{len(requests)} requests for {len(intended)} instants")
    if len(intended) > MOST or (len(intended) and intended[-1] > LONGEST_S):
        raise ValueError(f"a run has at most {MOST} requests in {LONGEST_S:g} s")
    collecting = gc.isenabled()
    gc.disable()
    loop = _Loop(address, requests, intended, patience_s, connections, clock)
    try:
        return loop.run()
    finally:
        loop.close()
        if collecting:
            gc.enable()


class _Connection:
    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.reader = Reader()
        self.request = -1  # that it carries
        self.unsent = b""


class _Loop:
    def __init__(
        self,
        address: tuple[str, int],
        requests: Sequence[bytes],
        intended: np.ndarray,
        patience_s: float,
        connections: int,
        clock: Callable[[], float],
    ) -> None:
        self._address, self._requests, self._clock = address, requests, clock
        self._times = [float(at) for at in intended]
        self._patience, self._most = patience_s, connections
        count = len(intended)
        self._sent, self._answered = [float("nan")] * count, [float("nan")] * count
        self._status, self._bodies = [LOST] * count, [b""] * count
        self._epoll = select.epoll()
        self._open: dict[int, _Connection] = {}
        self._free: list[_Connection] = []
        self._carrying: deque[tuple[float, int]] = deque()  # until when it is waited for, on which socket
        self._peak = 0

    def run(self) -> Run:
        for _ in range(min(self._most, 16, len(self._times))):
            self._free.append(self._connect())
        waiting: deque[int] = deque()
        next_one, count = 0, len(self._times)
        start = self._start = self._clock() + 0.05
        while True:
            now = self._clock() - start
            while next_one < count and self._times[next_one] <= now:
                waiting.append(next_one)
                next_one += 1
            while waiting and (self._free or len(self._open) < self._most):
                self._send(waiting.popleft())
            self._give_up(self._clock() - start, waiting)
            if next_one == count and not waiting and not self._carrying:
                break
            for number, _ in self._wait(next_one):
                self._ready(number)
        arrays = (np.array(one, float) for one in (self._times, self._sent, self._answered))
        return Run(*arrays, np.array(self._status, np.int16), self._bodies, self._peak)

    def close(self) -> None:
        for connection in self._open.values():
            connection.socket.close()
        self._epoll.close()

    def _wait(self, next_one: int) -> list[tuple[int, int]]:
        """What is ready, at the next instant at the latest: epoll waits in milliseconds, select in micro-."""
        ready = self._epoll.poll(0)
        if ready:
            return ready
        until = self._times[next_one] if next_one < len(self._times) else float("inf")
        if self._carrying:
            until = min(until, self._carrying[0][0])
        pause = min(until + self._start - self._clock(), 0.1)
        if pause > 0:
            select.select([self._epoll], [], [], pause)
        return self._epoll.poll(0)

    def _connect(self) -> _Connection:
        connection = _Connection(self._address)
        number = connection.socket.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._open[number] = connection
        self._peak = max(self._peak, len(self._open))
        return connection

    def _send(self, request: int) -> None:
        try:
            connection = self._free.pop() if self._free else self._connect()
        except OSError:
            self._status[request] = BROKEN
            return
        connection.request, connection.unsent = request, self._requests[request]
        self._sent[request] = self._clock() - self._start
        self._carrying.append((self._times[request] + self._patience, connection.socket.fileno()))
        self._push(connection)

    def _push(self, connection: _Connection) -> None:
        """Writes what the kernel takes now; the rest when it takes more."""
        try:
            done = connection.socket.send(connection.unsent)
        except BlockingIOError:
            done = 0
        except OSError:
            self._drop(connection, BROKEN)
            return
        connection.unsent = connection.unsent[done:]
        wanted = select.EPOLLIN | (select.EPOLLOUT if connection.unsent else 0)
        if connection.unsent or not done:
            self._epoll.modify(connection.socket.fileno(), wanted)

    def _ready(self, number: int) -> None:
        connection = self._open.get(number)
        if connection is None:
            return
        if connection.unsent:
            self._push(connection)
            if not connection.unsent and number in self._open:
                self._epoll.modify(number, select.EPOLLIN)
        try:
            piece = connection.socket.recv(65536)
            answer = connection.reader.feed(piece) if piece else None
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self._drop(connection, BROKEN)
            return
        if not piece:
            self._drop(connection, BROKEN)
        elif answer is not None:
            request, connection.request = connection.request, -1
            if request < 0:
                self._drop(connection, BROKEN)
                return
            self._answered[request] = self._clock() - self._start
            self._status[request], self._bodies[request] = answer.status, answer.body
            if answer.keep:
                self._free.append(connection)
            else:
                self._drop(connection, BROKEN)

    def _give_up(self, now: float, waiting: deque[int]) -> None:
        """Closes connections whose answer is waited for no longer, and drops requests that never left."""
        while self._carrying:
            until, number = self._carrying[0]
            connection = self._open.get(number)
            # The socket may carry a later request by now, or be another one with the same number.
            stale = connection is None or connection.request < 0
            if not stale and connection is not None:
                stale = self._times[connection.request] + self._patience != until
            if not stale and until > now:
                return
            self._carrying.popleft()
            if not stale and connection is not None:
                self._drop(connection, LOST)
        while waiting and self._times[waiting[0]] + self._patience <= now:
            waiting.popleft()

    def _drop(self, connection: _Connection, status: int) -> None:
        if connection.request >= 0:
            self._status[connection.request] = status
        number = connection.socket.fileno()
        self._open.pop(number, None)
        if connection in self._free:
            self._free.remove(connection)
        self._epoll.unregister(number)
        connection.socket.close()


def save_plan(
    path: Path,
    address: tuple[str, int],
    requests: Sequence[bytes],
    draws: np.ndarray,
    intended: np.ndarray,
    patience_s: float,
    connections: int | None = None,
) -> None:
    """Writes what `main` reads: the different requests, and which of them leaves when; see `drive`."""
    ends = np.cumsum([len(one) for one in requests], dtype=np.int64)
    joined = np.frombuffer(b"".join(requests), np.uint8)
    bounds = {"patience_s": patience_s, "connections": connections or CONNECTIONS}
    host, port = address
    np.savez(path, host=host, port=port, joined=joined, ends=ends, draws=draws, intended=intended, **bounds)


def main() -> None:
    """Reads a plan, drives it, writes the run."""
    plan, result = map(Path, sys.argv[1:3])
    with np.load(plan) as kept:
        joined, ends = kept["joined"].tobytes(), [int(end) for end in kept["ends"]]
        different = [joined[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        requests = [different[draw] for draw in kept["draws"]]
        address = str(kept["host"]), int(kept["port"])
        intended = kept["intended"]
        patience_s, connections = float(kept["patience_s"]), int(kept["connections"])
    run = drive(address, requests, intended, patience_s=patience_s, connections=connections)
    run.save(result)


if __name__ == "__main__":
    main()
