"""How everything here is timed: fresh processes, interleaved rounds, processor time, medians of ratios."""

from __future__ import annotations

import gc
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

Work = Callable[[], object]

# glibc gives large blocks back to the system and takes them again, at every step or never, by the luck of
# what else lies on the heap: up to 5 % between two runs of the same process. These settings make it never.
_KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


@dataclass(frozen=True)
class Times:
    """Seconds of each work in each round: processor time of this process, and wall-clock time."""

    cpu: dict[str, list[float]]
    wall: dict[str, list[float]]

    def median_ms(self, name: str) -> float:
        """Median processor time of one run."""
        return round(1000 * statistics.median(self.cpu[name]), 2)

    def ratio(self, one: str, other: str) -> dict[str, float]:
        """`one` over `other`: the median over rounds, its quartiles, and the median of wall-clock time."""
        low, middle, high = _quartiles(self.cpu[one], self.cpu[other])
        return {
            "ratio": round(middle, 3),
            "lower_quartile": round(low, 3),
            "upper_quartile": round(high, 3),
            "wall_clock_ratio": round(_quartiles(self.wall[one], self.wall[other])[1], 3),
        }


def interleave(works: Mapping[str, Work], rounds: int, warmup: int = 2, *, twice: bool = False) -> Times:
    """Runs every work once a round, so that a slow minute of the machine falls on all of them.

    What takes a millisecond is cold after another's turn and a collection of garbage, whose time it then
    tells as well: `twice` runs each work once untimed before it is timed, in the caches as in a loop.

    The order turns by one place a round. Processor time leaves out what other processes take; with one
    thread it is the time that an idle machine would take, but for shared caches.
    """
    cpu: dict[str, list[float]] = {name: [] for name in works}
    wall: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    gc.collect()
    gc.freeze()  # the collections below look at what is new
    for number in range(warmup + rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            gc.collect()
            if twice:
                works[name]()
            begun = time.process_time(), time.perf_counter()
            works[name]()
            ended = time.process_time(), time.perf_counter()
            if number >= warmup:
                cpu[name].append(ended[0] - begun[0])
                wall[name].append(ended[1] - begun[1])
    return Times(cpu, wall)


def fresh(function: Callable[..., Any], *args: object) -> Any:
    """`function(*args)` in a new process with one thread, so that comparisons do not share caches.

    (oneDNN keeps 1024 compiled primitives; the nets of several comparisons together push each other out.)
    """
    os.environ.update(_KEEP_MEMORY)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=_use_one_thread) as pool:
        return pool.submit(function, *args).result()


def _use_one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    gc.freeze()  # collections between works look at what is new: of all modules they take a tenth of a second


def _quartiles(one: list[float], other: list[float]) -> list[float]:
    ratios = [a / b for a, b in zip(one, other, strict=True)]
    return statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
