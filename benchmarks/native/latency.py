"""How soon a cancelled run of the native engine returns, and how much its full passes differ, idle and busy.

A call that lost a hundredth of its time, or 20 microseconds of a short one, to something else (wall-clock
time passed that its thread did not use) says nothing about the engine: it is counted apart.
"""

from __future__ import annotations

import os
import random
import statistics
import struct
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
from native.layers import HEADER_WORDS
from timing import fresh

from anytimenet.export.native_files import program_of
from anytimenet.export.stored import StoredWeights
from anytimenet.native import library
from anytimenet.native.engine import Engine, NativeSession
from anytimenet.nets import create_net
from anytimenet.nets.registry import net_entry

NAME = "native-latency"
CALLS = {"isresnext_47": 1000, "isresnext_62_imagenet": 100}
"""A round."""
CANCEL_US = 100.0
"""From a cancel to the return, at CIFAR size; at ImageNet size one block of one slice."""
SPREAD = 1.1
_AWAY_NS, _AWAY = 20_000, 0.01
"""Time that a thread may lose before its call counts as taken away, and the share of the call."""
_LOOPS = 500
_LEAST = 20
"""Calls that quantiles need."""
_BUSY = "import numpy as np\nx = np.ones(4_000_000, np.float32)\nwhile True: np.add(x, 1, out=x)"


def measure(rounds: int) -> dict[str, Any]:
    """Rows of both nets."""
    return {"load": os.getloadavg()[0], "rows": [row for name in CALLS for row in fresh(_rows, name, rounds)]}


def _rows(name: str, rounds: int) -> list[dict[str, Any]]:
    net, shape = create_net(name).eval(), net_entry(name).input_shape
    stored = StoredWeights(net)
    program = program_of(net, shape, stored)
    engine = Engine(program, [data for _, data in stored.files])
    session, stages = engine.session(), net.num_stages
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    for _ in range(5):
        _call(session, x, stages)
    calls = CALLS[name] * rounds
    idle = _spread(session, x, stages, calls)
    rows = [{"what": f"{name}: p99 over median of full passes, us", **idle, "reach": SPREAD}]
    other = sorted(os.sched_getaffinity(os.getppid()) | set(range(os.cpu_count() or 1)))
    places = [core for core in other if core not in os.sched_getaffinity(0)] or other
    with subprocess.Popen(["taskset", "-c", str(places[0]), sys.executable, "-c", _BUSY]) as neighbour:
        try:
            time.sleep(1)
            busy = _spread(session, x, stages, calls)
        finally:
            neighbour.kill()
    rows.append({"what": f"{name}: the same beside a busy process", **busy, "reach": SPREAD})
    rows.append({"what": f"{name}: as long a loop of multiply-adds alone, idle", **_loop(idle["median"])})
    allowed = CANCEL_US if name == "isresnext_47" else _block_us(program, idle["median"])
    cancelled = _cancelled(session, x, stages, calls // 2, idle["median"], places[0])
    rows.append({"what": f"{name}: from a cancel to the return, us", **cancelled, "reach": allowed})
    return rows


def _call(session: NativeSession, x: np.ndarray, stop: int) -> tuple[float, bool]:
    """Microseconds of a run, and whether the processor was taken away meanwhile."""
    session.begin(x)
    used, begun = time.thread_time_ns(), time.perf_counter_ns()
    session.run(stop)
    ended = time.perf_counter_ns()
    return (ended - begun) / 1000, _was_away(used, ended - begun)


def _was_away(used_before: int, wall_ns: int) -> bool:
    used = time.thread_time_ns() - used_before
    return wall_ns - used > max(_AWAY_NS, _AWAY * wall_ns)


def _spread(session: NativeSession, x: np.ndarray, stop: int, calls: int) -> dict[str, float]:
    return _quantiles([_call(session, x, stop) for _ in range(calls)])


def _loop(wanted_us: float) -> dict[str, float]:
    """What the machine itself does to calls of that length: the engine's cannot be steadier than these."""
    best, multiply = library.instruction_sets()[0].encode(), library.library().anytime_multiply
    count = 100_000

    def call() -> tuple[float, bool]:
        used, begun = time.thread_time_ns(), time.perf_counter_ns()
        multiply(best, count)
        ended = time.perf_counter_ns()
        return (ended - begun) / 1000, _was_away(used, ended - begun)

    count = round(count * wanted_us / min(call()[0] for _ in range(20)))
    return _quantiles([call() for _ in range(_LOOPS)])


def _quantiles(measured: list[tuple[float, bool]]) -> dict[str, float]:
    kept = sorted(value for value, away in measured if not away)
    if len(kept) < _LEAST:
        lost = len(measured) - len(kept)
        raise RuntimeError(f"{lost} of {len(measured)} calls lost the processor: measure where it is quieter")
    median, last = statistics.median(kept), kept[int(0.99 * len(kept))]
    return {
        "ratio": round(last / median, 3),
        "median": round(median, 1),
        "p99": round(last, 1),
        "most": round(kept[-1], 1),
        "calls": len(kept),
        "away": len(measured) - len(kept),
    }


def _cancelled(
    session: NativeSession, x: np.ndarray, stop: int, calls: int, full_us: float, core: int
) -> dict[str, float]:
    """Another thread, on another core where there is one, cancels at a random moment of each run."""
    draw, go, done = random.Random(0), threading.Semaphore(0), threading.Semaphore(0)
    told: list[tuple[int, bool]] = []

    def cancels() -> None:
        os.sched_setaffinity(0, {core})
        for _ in range(calls):
            go.acquire()
            time.sleep(draw.uniform(0, full_us) * 1e-6)
            used, begun = time.thread_time_ns(), time.perf_counter_ns()
            session.cancel()
            # A canceller that lost the processor between both says nothing about the engine, either.
            told.append((begun, _was_away(used, time.perf_counter_ns() - begun)))
            done.release()

    thread = threading.Thread(target=cancels)
    thread.start()
    found = []
    for _ in range(calls):
        session.begin(x)
        used, begun = time.thread_time_ns(), time.perf_counter_ns()
        go.release()
        ran = session.run(stop)
        ended = time.perf_counter_ns()
        away = _was_away(used, ended - begun)
        done.acquire()
        if ran.end == "cancelled":
            found.append(((ended - told[-1][0]) / 1000, away or told[-1][1]))
    thread.join()
    return _quantiles(found)


def _block_us(program: bytes, full_us: float) -> float:
    """What a block of one slice takes on average: three operators, 1x1, 3x3 and 1x1."""
    operators = struct.unpack_from(f"<{HEADER_WORDS}i", program)[7]
    return round(3 * full_us / operators, 1)
