"""What a request takes beside its segments is counted where it takes it from the engine's cores."""

from __future__ import annotations

import math

import pytest

from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.manifest.latency import Latency
from anytimenet.serving.overhead import Overhead
from anytimenet.serving.request import Request
from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.policies.known import policy_named
from anytimenet.serving.scheduling.policies.pressure import pressure
from anytimenet.serving.scheduling.scheduler import Scheduler


class Process:
    """A process of one engine thread: each request takes 3 ms, of which its segments take 1."""

    def __init__(self, cores: int) -> None:
        self.now = self.used = 0.0
        self.overhead = Overhead(1, clock=lambda: self.now, used=lambda: self.used, cores=lambda: cores)

    def answer(self, count: int) -> None:
        for _ in range(count):
            self.now += 0.01
            self.used += 0.003
            self.overhead.ran(0.001)
            self.overhead.came()


def test_on_one_core_it_is_what_the_rest_of_the_process_takes() -> None:
    process = Process(cores=1)
    process.answer(2000)
    assert process.overhead.seconds == pytest.approx(0.002, rel=0.01)


def test_where_a_core_is_left_for_the_rest_it_is_nothing() -> None:
    process = Process(cores=2)
    process.answer(2000)
    assert process.overhead.seconds == 0


def test_it_is_never_negative_nor_without_bound() -> None:
    process = Process(cores=1)
    for used, wanted in ((-1.0, 0.0), (1e6, 0.02)):
        for _ in range(500):
            process.now += 0.1
            process.used += used
            process.overhead.came()
        assert process.overhead.seconds == pytest.approx(wanted, abs=1e-6)


def test_what_an_idle_process_takes_is_not_counted_to_who_comes_next() -> None:
    process = Process(cores=1)
    process.answer(2000)
    process.now += 60
    process.used += 0.5
    process.answer(30)
    assert process.overhead.seconds == pytest.approx(0.002, rel=0.05)


def test_an_outlook_has_it_for_everybody_who_is_to_come() -> None:
    latency = {(0, 1, 1): 1.0, (0, 2, 1): 5.0, (1, 2, 1): 4.0}
    entries = {key: Latency(ms, 1.1 * ms, 1.2 * ms, repeats=50) for key, ms in latency.items()}
    table = CostTable("cpu", {"id": "here"}, "float32", 1, (3, 8, 8), entries)
    prices = []
    for overhead_s in (0.0, 0.004):
        costs = Costs(table, (0.5, 0.9))
        costs.overhead_s = overhead_s
        scheduler = Scheduler(costs, policy_named("anytime"))
        for number in range(200):  # 150 a second, 20 ms each: all of them could have 5 ms, but not 9
            scheduler.view.arrivals.came(number / 150, 0.02)
        scheduler.view.now = 199 / 150
        outlook = scheduler.policy._outlook(scheduler.view)  # type: ignore[attr-defined]
        prices.append(outlook.cost(0.0, 0.004))
    assert prices[1] > prices[0]


def two_stages() -> Costs:
    latency = {(0, 1, 1): 1.0, (0, 2, 1): 5.0, (1, 2, 1): 4.0}
    entries = {key: Latency(ms, 1.1 * ms, 1.2 * ms, repeats=50) for key, ms in latency.items()}
    return Costs(CostTable("cpu", {"id": "here"}, "float32", 1, (3, 8, 8), entries), (0.5, 0.9))


def test_what_beginning_takes_is_part_of_every_run_from_the_input_and_of_no_other():
    costs = two_stages()
    before = {pair: costs.seconds(*pair) for pair in ((0, 1), (0, 2), (1, 2))}
    sure = costs.sure_seconds(0, 1)
    costs.begin_s = 0.002
    assert costs.seconds(0, 1) == pytest.approx(before[0, 1] + 0.002)
    assert costs.seconds(0, 2) == pytest.approx(before[0, 2] + 0.002)
    assert costs.seconds(1, 2) == before[1, 2]
    assert costs.sure_seconds(0, 1) == pytest.approx(sure + 0.002)
    assert costs.seconds(0, 9) == math.inf


def test_who_waits_has_less_slack_where_those_to_come_take_from_the_same_core():
    """Ten requests of 1 ms each behind one another; at 500 a second with 1 ms each the core is half taken."""
    costs = two_stages()
    scheduler = Scheduler(costs, policy_named("stage_1"))
    for number in range(2000):
        scheduler.view.arrivals.came(number / 500, 0.025)
    now = 2000 / 500
    for _ in range(10):
        scheduler.submit(Request(now, now + 0.025), now)
    assert pressure(scheduler.view, 0).slack == pytest.approx(0.025 - 0.010, abs=1e-4)
    costs.overhead_s = 0.001
    assert pressure(scheduler.view, 0).slack == pytest.approx(0.025 - 9 * 0.002 - 0.001, abs=1e-3)
