"""The best path of all: exact, by Pareto labels over the segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from anytimenet.runtime.planning.latencies import MEDIAN, NOW, Times, chance_within
from anytimenet.runtime.planning.objective import survival
from anytimenet.runtime.planning.plan import Path

Outgoing = Mapping[int, Sequence[tuple[int, Times]]]
"""Of each stage, the segments that start there: where they stop, and how long they may take."""

SAME = 1e-9
"""Values that differ by less are equal: sums of one accuracy in another order."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What a path is judged by.

    Attributes:
        budget_ms: the time that is left.
        cut: the probability that the budget is cut before; see `objective.survival`.
        late: the highest probability of ending after the deadline that is accepted.
    """

    budget_ms: float
    cut: float = 0.0
    late: float = 0.01


class Label(NamedTuple):
    """A path, by what decides over its continuations.

    Attributes:
        times: until its end.
        value: its expected accuracy.
        best: what the best of its stages, or what stood before it, is worth.
        path: its segments.
    """

    times: Times
    value: float
    best: float
    path: Path


def best_path(
    outgoing: Outgoing, values: Sequence[float], aim: Aim, start: int, floor: float, *, stands: bool
) -> Label | None:
    """The path from `start` of the highest expected accuracy; of equal ones that of the least median time.

    Label A makes B superfluous if both are at one stage, no time of A is above B's, and A is worth no less
    than B even after B has gained all by which A's best stage is ahead of B's. Then every continuation is
    worth at least as much after A, whatever it is, and the search misses nothing. A path that is late with
    more than the accepted probability is no candidate, and neither is any continuation of it.

    Args:
        outgoing: the segments that may be planned.
        values: what the stages 1..K are worth.
        aim: what is judged.
        start: the stage that is finished.
        floor: what stands already, or a guess.
        stands: whether an answer stands, so that no segment at all is a path, too.

    Returns:
        None if no path fits.
    """
    candidates = fitting_paths(outgoing, values, aim, start, floor, best_only=True)
    if not stands:
        del candidates[0]
    if not candidates:
        return None
    highest = max(label.value for label in candidates)
    equal = [label for label in candidates if label.value >= highest - SAME]
    return min(equal, key=lambda label: (label.times[MEDIAN], len(label.path)))


def fitting_paths(
    outgoing: Outgoing,
    values: Sequence[float],
    aim: Aim,
    start: int,
    floor: float,
    *,
    best_only: bool = False,
) -> list[Label]:
    """The paths from `start` that fit, without those that others make superfluous; first the empty one.

    For whatever is sought that is no worse with less time and with more value, one of them is the best.

    Args:
        outgoing, values, aim, start, floor: see `best_path`.
        best_only: leave out, too, what cannot have the highest value.
    """
    top = max(values)
    waiting: dict[int, list[Label]] = {start: [Label(NOW, floor, floor, ())]}
    kept: list[Label] = []
    highest = floor
    for stage in range(start, len(values) + 1):
        for label in _pareto(waiting.pop(stage, [])):
            if best_only and label.path:
                most = label.value + (top - label.best) * survival(label.times, aim.budget_ms, aim.cut)
                if most < highest - SAME:
                    continue  # neither it nor a continuation reaches what is there already
            kept.append(label)
            for stop, more in outgoing.get(stage, ()):
                grown = _extended(label, stage, stop, more, values[stop - 1], aim)
                if grown is not None:
                    highest = max(highest, grown.value)
                    waiting.setdefault(stop, []).append(grown)
    return kept


def _extended(label: Label, stage: int, stop: int, more: Times, worth: float, aim: Aim) -> Label | None:
    """The path and one segment more; None if it may be late too often."""
    so_far = label.times
    times = (
        so_far[0] + more[0],
        so_far[1] + more[1],
        so_far[2] + more[2],
        so_far[3] + more[3],
        so_far[4] + more[4],
    )
    if chance_within(times, aim.budget_ms) < 1 - aim.late:
        return None
    value, best = label.value, label.best
    if worth > best:
        value += (worth - best) * survival(times, aim.budget_ms, aim.cut)
        best = worth
    return Label(times, value, best, (*label.path, (stage, stop)))


def _pareto(labels: Sequence[Label]) -> list[Label]:
    """Those that no other makes superfluous; the first of equal ones."""
    kept: list[Label] = []
    for label in sorted(labels, key=lambda label: (label.times, -label.value)):
        if not any(_supersedes(other, label) for other in kept):
            kept.append(label)
    return kept


def _supersedes(one: Label, other: Label) -> bool:
    ahead = one.best - other.best
    if one.value - (ahead if ahead > 0 else 0.0) < other.value - _ROUNDING:
        return False
    mine, theirs = one.times, other.times
    return (
        mine[0] <= theirs[0]
        and mine[1] <= theirs[1]
        and mine[2] <= theirs[2]
        and mine[3] <= theirs[3]
        and mine[4] <= theirs[4]
    )


_ROUNDING = 1e-12
