"""Planning without a clock: what a counted budget pays for, and what an accuracy costs."""

from __future__ import annotations

import math
from collections.abc import Mapping

from anytimenet.core import checks
from anytimenet.core.answers.standing import Validated, standing_stage
from anytimenet.runtime.planning.best_path import Aim, Outgoing, best_path
from anytimenet.runtime.planning.latencies import MEDIAN, Times, certain
from anytimenet.runtime.planning.objective import stage_values
from anytimenet.runtime.planning.plan import Path, Plan, Segment

Costs = Mapping[Segment, float]
"""Of each segment that may be planned, what it costs: multiply-adds, or any other unit."""


def plan_within(
    costs: Costs, validated: Validated, budget: float, start: int = 0, standing: int | None = None
) -> Plan:
    """The path that a budget pays for whose answer is the best; of equal ones the cheapest.

    Which answer is the best is `core.answers.standing`. Where the budget pays for none, the path is the
    cheapest segment from the input, and is over budget: `fits` is false.

    Args:
        costs: of segments (start, stop), none negative.
        validated: scores of stages 1..K; see there.
        budget: what may be spent from now on, in the unit of the costs.
        start: the stage that is finished.
        standing: the stage whose answer stands; by default `start`.

    Raises:
        TypeError, ValueError: for values out of range, or if no segment starts at the input.

    >>> costs = {(0, 1): 10, (0, 2): 30, (1, 2): 25}
    >>> plan_within(costs, (0.7, 0.9), 30).path, plan_within(costs, (0.7, 0.9), 29).path
    (((0, 2),), ((0, 1),))
    """
    values = stage_values(validated)
    budget = checks.number(budget, "budget", infinite=True)
    return _plan(costs, validated, values, budget, start, standing)


def plan_to_reach(
    costs: Costs, validated: Validated, accuracy: float, start: int = 0, standing: int | None = None
) -> Plan:
    """The cheapest path to a stage whose validated score is at least `accuracy`.

    Where no stage that can be reached has it, the plan is the best that there is, and `fits` is false: not
    met.

    Args:
        costs: of segments (start, stop), none negative.
        validated: scores of stages 1..K, None for one that was not validated: it reaches no accuracy.
        accuracy: that is asked for.
        start: the stage that is finished.
        standing: the stage whose answer stands; by default `start`.

    Raises:
        TypeError, ValueError: for values out of range, or if no segment starts at the input.

    >>> costs = {(0, 1): 10, (0, 2): 30, (1, 2): 25}
    >>> plan_to_reach(costs, (0.7, 0.9), 0.8).path, plan_to_reach(costs, (0.7, 0.9), 0.95).fits
    (((0, 2),), False)
    """
    values = stage_values(validated)
    accuracy = checks.number(accuracy, "accuracy")
    known = [None if score is None or score != score else score for score in validated]
    reached = [float(score is not None and score >= accuracy) for score in known]
    if 1.0 in reached:
        plan = _plan(costs, validated, reached, math.inf, start, standing)
        if reached[plan.stage - 1]:
            return Plan(plan.path, plan.stage, values[plan.stage - 1])
    best = _plan(costs, validated, values, math.inf, start, standing)
    return Plan(best.path, best.stage, best.expected, fits=False)


def _plan(
    costs: Costs,
    validated: Validated,
    values: tuple[float, ...] | list[float],
    budget: float,
    start: int,
    standing: int | None,
) -> Plan:
    stages = len(values)
    start = checks.whole_number(start, "start", 0, stages)
    stands = checks.optional(standing, "standing", checks.whole_number, 1, stages) or start
    outgoing = _outgoing(costs, stages)
    floor = values[stands - 1] if stands else min(0.0, *values)
    best = best_path(outgoing, values, Aim(budget), start, floor, stands=stands > 0)
    if best is not None:
        return Plan(best.path, _stage(best.path, stands, validated), best.value)
    stop, _ = min(outgoing[0], key=lambda way: way[1][MEDIAN])
    return Plan(((0, stop),), stop, values[stop - 1], late=1.0, fits=False)


def _outgoing(costs: Costs, stages: int) -> Outgoing:
    checks.instance(costs, Mapping, "costs", "{(0, 1): 10.0, (1, 2): 12.0}")
    found: dict[int, list[tuple[int, Times]]] = {}
    for segment, cost in costs.items():
        start, stop = checks.whole_numbers(segment, "costs")
        if not start < stop <= stages:
            raise ValueError(
                f"costs hold {segment}: (start, stop) with 0 <= start < stop <= {stages} is needed"
            )
        found.setdefault(start, []).append((stop, certain(checks.number(cost, "costs", 0))))
    if 0 not in found:
        raise ValueError("costs hold no segment that starts at the input, such as (0, 1)")
    return found


def _stage(path: Path, stands: int, validated: Validated) -> int:
    return standing_stage([stands] * (stands > 0) + [stop for _, stop in path], validated) or 0
