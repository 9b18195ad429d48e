"""How many replicas a load needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from anytimenet.core import checks
from anytimenet.serving.simulation.report import Report
from anytimenet.serving.simulation.simulator import Site, simulate


@dataclass(frozen=True)
class Objective:
    """What a service promises.

    Attributes:
        in_time: share of the offered requests that is answered by its deadline.
        accuracy: of those answers, by validated accuracy; None for any.

    Raises:
        TypeError, ValueError: for values that are no shares.
    """

    in_time: float = 0.99
    accuracy: float | None = None

    def __post_init__(self) -> None:
        checks.settle(self, "in_time", checks.fraction)
        checks.settle(self, "accuracy", checks.optional, checks.fraction)

    def kept(self, report: Report) -> bool:
        """Whether a simulation kept it."""
        return report.in_time >= self.in_time and (self.accuracy is None or report.accuracy >= self.accuracy)


def replicas_for(
    site: Site,
    times: Sequence[float] | np.ndarray,
    deadline_s: float | Sequence[float] | np.ndarray,
    objective: Objective | None = None,
    *,
    most: int = 64,
    seed: int = 0,
) -> tuple[int, Report]:
    """The fewest replicas that keep a promise, and the simulation that shows it.

    More replicas never serve worse, so the number is found by halving.

    Args:
        site: one replica.
        times, deadline_s, seed: the load; see `simulate`.
        objective: the promise; by default 99 % in time.
        most: replicas to try at most.

    Raises:
        ValueError: if not even `most` keep it; the message says what they reach.

    >>> from anytimenet.core.manifest.cost_table import CostTable, Latency
    >>> from anytimenet.serving.simulation.load import poisson
    >>> table = CostTable("cpu", {"id": "here"}, "float32", 1, (3, 32, 32), {
    ...     (0, 1, 1): Latency(10.0, 10.1, 10.2, repeats=50)})
    >>> replicas_for(Site(table, (0.8,)), poisson(150, 5), 0.05)[0]
    2
    """
    objective = Objective() if objective is None else objective
    most = checks.whole_number(most, "most", 1, 4096)
    low, high = 0, 1  # high is tried; low is known not to be enough
    while not objective.kept(found := simulate(replace(site, replicas=high), times, deadline_s, seed=seed)):
        if high == most:
            raise ValueError(
                f"{most} replicas answer {found.in_time:.1%} in time with accuracy {found.accuracy:.3f}: "
                "allow more replicas, more time, or a lower accuracy"
            )
        low, high = high, min(2 * high, most)
    best = high, found
    while best[0] - low > 1:
        middle = (low + best[0]) // 2
        found = simulate(replace(site, replicas=middle), times, deadline_s, seed=seed)
        if objective.kept(found):
            best = middle, found
        else:
            low = middle
    return best
