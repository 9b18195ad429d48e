"""The promise that calls in several threads do not disturb each other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from anytimenet.nets.contract import Output
from anytimenet.testing.calls import REMEMBERS, CallsOnImage, KnownCall
from anytimenet.testing.net_under_test import NetUnderTest
from anytimenet.testing.promise import BreachError, agree, promise

PATIENCE_S = 20.0
FREE_THREADS = 8


@promise("threads")
def check_threads(subject: NetUnderTest) -> None:
    """Calls in several threads give the results that they give alone (1e-9) and raise nothing: pairs of
    threads that take turns at each operator, then eight threads that run freely.
    """
    pairs = list(_pairs(subject))
    for pair in pairs:
        _run_in_threads(pair, partial(_run_in_turns, _Turns(len(pair))))
    calls = [call for pair in pairs for call in pair]
    _run_in_threads(calls[:FREE_THREADS], lambda number, call: [call.run() for _ in range(3)])


def _pairs(subject: NetUnderTest) -> Iterator[list[KnownCall]]:
    """Calls that run at the same time: two stages of the net; one step on two images."""
    one, other = CallsOnImage(subject, subject.x), CallsOnImage(subject, subject.other_x)
    every = subject.every_stage
    for a, b in dict.fromkeys([(1, every[-1]), *pairwise(every)]):
        yield [one.forward(a), other.forward(b)]
    for stage in every:
        yield [one.step(stage), other.step(stage)]


def _run_in_threads(calls: list[KnownCall], run: Callable[[int, KnownCall], list[Output]]) -> None:
    """Runs all calls at once; raises `BreachError` for the first that raised or gave something else."""
    results: dict[int, list[Output] | Exception] = {}

    def work(number: int, call: KnownCall) -> None:
        try:
            with torch.no_grad():
                results[number] = run(number, call)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=work, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, call in enumerate(calls):
        found = results[number]
        if isinstance(found, Exception):
            where = f"{call.where} in threads raises {type(found).__name__}: {found}"
            raise BreachError(where, REMEMBERS) from found
        for output in found:
            agree(output, call.truth, f"{call.where} in threads", REMEMBERS)


def _run_in_turns(turns: _Turns, thread: int, call: KnownCall) -> list[Output]:
    try:
        turns.wait_for(thread)
        with _PassOnAtEachOperator(turns, thread):
            return [call.run()]
    finally:
        turns.leave(thread)


class _Turns:
    """Lets one of several threads run at a time, the next one after each operator.

    So a hidden stage is found every time, where free threads find it by luck. A net that holds a lock
    would stop this for good; after `PATIENCE_S` without a turn the threads run freely instead.
    """

    def __init__(self, threads: int) -> None:
        self.changed = threading.Condition()
        self.running = list(range(threads))
        self.turn = 0
        self.free = False

    def wait_for(self, thread: int) -> None:
        """Returns when it is this thread's turn."""
        with self.changed:
            mine = self.changed.wait_for(lambda: self.free or self.turn == thread, PATIENCE_S)
            self.free = self.free or not mine
            self.changed.notify_all()

    def pass_on(self, thread: int) -> None:
        """Gives the turn to the next thread."""
        with self.changed:
            self.turn = min((other for other in self.running if other > thread), default=self.running[0])
            self.changed.notify_all()

    def leave(self, thread: int) -> None:
        """Gives the turn away for good."""
        self.pass_on(thread)
        with self.changed:
            self.running.remove(thread)


class _PassOnAtEachOperator(TorchDispatchMode):
    def __init__(self, turns: _Turns, thread: int) -> None:
        super().__init__()
        self.turns, self.thread = turns, thread

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.turns.pass_on(self.thread)
        self.turns.wait_for(self.thread)
        return func(*args, **(kwargs or {}))
