"""Slack: the share of its deadline that a request would have left after the whole net; below 0 depth is shed.

What routes between replicas and decides how many there are. A queue's length says how many wait, and neither
how long each takes here nor how soon it must be answered; slack says all three at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from anytimenet.core import checks


class SlackMeter:
    """A running mean of the slack of requests.

    Args:
        memory: requests after which one weighs 1/e of what it did.

    >>> meter = SlackMeter()
    >>> meter.came(allowed_s=0.100, waited_s=0.030, full_s=0.020)  # half of the deadline would be left
    >>> meter.mean
    0.5
    """

    def __init__(self, memory: float = 50.0) -> None:
        self._step = 1 / checks.number(memory, "memory", 1)
        self._mean = math.nan

    @property
    def mean(self) -> float:
        """Of late; NaN before the first request with a deadline."""
        return self._mean

    def came(self, allowed_s: float, waited_s: float, full_s: float) -> None:
        """A request began, or was refused.

        Args:
            allowed_s: from its arrival to its deadline.
            waited_s: until its first segment began; for a refused one, all that it was allowed.
            full_s: that the whole net takes here and now.
        """
        if not 0 < allowed_s < math.inf:
            return
        slack = max(1 - (waited_s + full_s) / allowed_s, -1.0)
        self._mean = slack if math.isnan(self._mean) else self._mean + self._step * (slack - self._mean)


def by_slack(work_s: Mapping[str, float], under_way: Mapping[str, int]) -> list[str]:
    """Replicas, the one that leaves a request the most time first.

    Args:
        work_s: seconds that the first answer of one request takes at each, as slow as it is now.
        under_way: requests that were sent there and are not answered.

    >>> by_slack({"quick": 0.002, "slow": 0.008}, {"quick": 2, "slow": 0})
    ['quick', 'slow']
    """
    return sorted(work_s, key=lambda one: (work_s[one] * (1 + under_way.get(one, 0)), one))


@dataclass(frozen=True)
class SlackScaling:
    """How many replicas there should be.

    Attributes:
        low: mean slack below which there is one more (or, far below it, half as many again).
        high: mean slack above which there is one less, if the others can take its work.
        busiest: share of the threads' time that may be taken once there is one less.

    Raises:
        ValueError: where low is not below high.
    """

    low: float = 0.05
    high: float = 0.5
    busiest: float = 0.6

    def __post_init__(self) -> None:
        checks.settle(self, "low", checks.number, -1, 1)
        checks.settle(self, "high", checks.number, -1, 1)
        checks.settle(self, "busiest", checks.number, 0, 1)
        if not self.low < self.high:
            raise ValueError(f"low: must be below high, and {self.low} is not below {self.high}")

    def replicas(self, now: int, slack: float, utilisation: float) -> int:
        """For the next while.

        Args:
            now: replicas that run.
            slack: their mean; NaN where no request has come.
            utilisation: share of their threads' time that segments take, their mean.

        >>> scaling = SlackScaling()
        >>> scaling.replicas(2, slack=0.0, utilisation=0.9), scaling.replicas(2, slack=0.8, utilisation=0.2)
        (3, 1)
        """
        if slack < self.low:
            return now + max(1, now // 2) if slack < self.low - 0.5 else now + 1
        idle = math.isnan(slack) or slack > self.high
        if now > 1 and idle and utilisation * now <= self.busiest * (now - 1):
            return now - 1
        return now
