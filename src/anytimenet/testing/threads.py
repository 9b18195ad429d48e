"""The promise that calls do not disturb each other: one in the middle of another, and several in threads.

A call inside a call is the sure way to find hidden state; threads are how it does harm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from anytimenet.nets.contract import Output
from anytimenet.testing.net_under_test import NetUnderTest, copy_of_state
from anytimenet.testing.promise import BreachError, agree, promise

PATIENCE_S = 20.0
FREE_THREADS = 8
REMEMBERS = "a layer, the net or a segment remembers the active stage or a tensor; pass it as an argument"
"""The likely cause when a call disturbs another."""


@promise("re-entrance")
@torch.no_grad()
def check_reentrance(subject: NetUnderTest) -> None:
    """A call of the net or of a step gives its result (1e-9) although, at each of its operators, the net is
    called with another stage and another image, or the step with another state.
    """
    for call, others in _calls_with_others(subject):
        try:
            with _CallAtEachOperator(others):
                result = call.run()
        except Exception as error:
            where = f"{call.where}, re-entered, raises {type(error).__name__}: {error}"
            raise BreachError(where, REMEMBERS) from error
        agree(result, call.truth, f"{call.where}, re-entered", REMEMBERS)


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


@dataclass(frozen=True)
class KnownCall:
    """A call, its name for messages, and its result when it runs alone."""

    where: str
    run: Callable[[], Output]
    truth: Output


class CallsOnImage:
    """Makes the `KnownCall`s of one net on one batch of images."""

    def __init__(self, subject: NetUnderTest, x: Tensor) -> None:
        self.subject = subject
        self.x = x
        self.states = subject.states_of(x)
        with torch.no_grad():
            self.outputs = subject.net(x)

    def forward(self, stage: int) -> KnownCall:
        """`forward` asked for one stage."""
        net, x = self.subject.net, self.x
        return KnownCall(f"forward(x, ({stage},))", lambda: net(x, (stage,))[0], self.outputs[stage - 1])

    def step(self, stage: int) -> KnownCall:
        """The step to a stage; its result is the new state followed by the output."""
        segment, state = self.subject.segment(stage - 1, stage), self.states[stage - 1]

        def run() -> Output:
            new_state, output = segment(copy_of_state(state))
            return (*new_state, *output)

        truth = (*self.states[stage], *self.outputs[stage - 1])
        return KnownCall(f"segment ({stage - 1}, {stage})", run, truth)


def _calls_with_others(subject: NetUnderTest) -> Iterator[tuple[KnownCall, list[KnownCall]]]:
    outer, inner = CallsOnImage(subject, subject.x), CallsOnImage(subject, subject.other_x)
    for stage in subject.every_stage:
        rest = [inner.forward(other) for other in subject.every_stage if other != stage]
        yield outer.forward(stage), rest or [inner.forward(stage)]
        yield outer.step(stage), [inner.step(stage), *rest]


class _CallAtEachOperator(TorchDispatchMode):
    """Makes the next of `others` before each operator; modes are off meanwhile, so it does not recurse."""

    def __init__(self, others: Sequence[KnownCall]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.others = cycle(others)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        next(self.others).run()
        return func(*args, **(kwargs or {}))


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
        super().__init__()  # type: ignore[no-untyped-call]
        self.turns, self.thread = turns, thread

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.turns.pass_on(self.thread)
        self.turns.wait_for(self.thread)
        return func(*args, **(kwargs or {}))
