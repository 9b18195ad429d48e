"""Images a second of the native engine with two threads, a session each, over one; needs two cores."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import numpy as np
from timing import fresh

from anytimenet.export.native_files import program_of
from anytimenet.export.stored import StoredWeights
from anytimenet.native.engine import Engine, NativeSession
from anytimenet.nets import create_net
from anytimenet.nets.registry import net_entry

NAME = "native-threads"
CALLS = {"isresnext_47": 150, "efficientnet_lite0": 40}
REACH = 1.9


def measure(rounds: int) -> dict[str, Any]:
    """For each net the throughput of two threads over that of one."""
    return {"load": os.getloadavg()[0], "rows": [fresh(_row, name, rounds) for name in CALLS]}


def _row(name: str, rounds: int) -> dict[str, Any]:
    net, shape = create_net(name).eval(), net_entry(name).input_shape
    stored = StoredWeights(net)
    engine = Engine(program_of(net, shape, stored), [data for _, data in stored.files])
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    sessions, stop, calls = [engine.session() for _ in range(2)], net.num_stages, CALLS[name]
    _together(sessions, x, stop, 5)
    walls, used = [], []
    for _ in range(rounds):
        one, two = _together(sessions[:1], x, stop, calls), _together(sessions, x, stop, calls)
        walls.append(two[0] / one[0])
        used.append(two[1] / one[1])
    middle = rounds // 2
    return {
        "what": f"{name}: images a second with 2 threads over 1",
        "ratio": round(sorted(walls)[middle], 3),
        "best": round(max(walls), 3),
        "of processor time": round(sorted(used)[middle], 3),
        "reach": REACH,
    }


def _together(sessions: list[NativeSession], x: np.ndarray, stop: int, calls: int) -> tuple[float, float]:
    """Images a second of wall-clock time; and summed over the threads those a second of processor time.

    The second leaves out what other processes take of the cores, not what the threads take from each other.
    """
    rates: list[float] = []

    def work(session: NativeSession) -> None:
        begun = time.thread_time()
        for _ in range(calls):
            session.begin(x)
            session.run(stop)
        rates.append(calls / (time.thread_time() - begun))

    threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return calls * len(sessions) / (time.perf_counter() - begun), sum(rates)
