"""Promises about counted cost: what a planner relies on when it chooses a path."""

from __future__ import annotations

import torch

from anytimenet.costs import OperationCount, count
from anytimenet.nets.contract import State
from anytimenet.testing.net_under_test import NetUnderTest
from anytimenet.testing.promise import BreachError, promise

CONVENTIONS = ("macs", "full")


@promise("costs")
@torch.no_grad()
def check_costs(subject: NetUnderTest) -> None:
    """Counted multiply-adds, in the `macs` and the `full` convention, exact: every step costs more than
    nothing; (a, b) costs no more than (0, b), and no more than the sum of its steps; where (a, b) reads more
    of the state at a than `x`, (0, a) costs less than (0, b).
    """
    counted = _count_segments(subject)
    for unit in CONVENTIONS:
        cost = {pair: getattr(operations, unit) for pair, operations in counted.items()}
        for pair in subject.every_segment():
            if cost[pair] <= 0:
                raise BreachError(
                    f"segment {pair} costs {cost[pair]} {unit}", "the stage does no work of its own"
                )
        for start, stop in subject.every_segment():
            _check_rules(cost, start, stop, unit)
            builds_on = start > 0 and subject.reads(start, stop) - {"x"}
            if builds_on and cost[0, start] >= cost[0, stop]:
                raise BreachError(
                    f"(0, {start}) costs {cost[0, start]} {unit}, (0, {stop}) {cost[0, stop]}",
                    "a later stage costs no more than an earlier one that it builds on",
                )


def _check_rules(cost: dict[tuple[int, int], int], start: int, stop: int, unit: str) -> None:
    here = f"segment ({start}, {stop}) costs {cost[start, stop]} {unit}"
    if cost[start, stop] > cost[0, stop]:
        raise BreachError(
            f"{here}, (0, {stop}) {cost[0, stop]}", "it does again what the state already holds"
        )
    steps = sum(cost[stage - 1, stage] for stage in range(start + 1, stop + 1))
    if cost[start, stop] > steps:
        raise BreachError(f"{here}, its steps {steps}", "the jump does work that no step does")


def _count_segments(subject: NetUnderTest) -> dict[tuple[int, int], OperationCount]:
    net = subject.net_on_meta()
    states: list[State] = [tuple(tensor[:1].to("meta") for tensor in state) for state in subject.states]
    return {
        (start, stop): count(net.segment(start, stop, last=True), states[start], rules=subject.rules)
        for start, stop in subject.every_segment()
    }
