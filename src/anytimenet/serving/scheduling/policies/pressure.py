"""How hard those who wait press: what time there is before somebody loses the answer."""

from __future__ import annotations

import math
from dataclasses import dataclass

from anytimenet.serving.scheduling.policies.feasible import busy_s, stretch
from anytimenet.serving.scheduling.policies.policy import View


@dataclass(frozen=True, slots=True)
class Pressure:
    """What a second costs those who wait.

    Attributes:
        slack: seconds by which everybody who waits can begin later and still have the least answer in time.
        age: of who is worst off, in seconds, when it begins after the least answers of those before it; None
            if nobody waits.
        price: accuracy per second of work, where the time until the deadlines is shared out evenly.
    """

    slack: float = math.inf
    age: float | None = None
    price: float = 0.0


def pressure(view: View, priority: int, kept_back_s: float = 0.0) -> Pressure:
    """What those who wait lose by a second more for a request of that priority.

    Everybody's least answer counts; the depth only of requests of that priority and above. The price is that
    of ending so much before the deadlines as is kept back.
    """
    if not view.waiting:
        return Pressure()
    costs, rate, busy = view.costs, stretch(view) / view.workers, busy_s(view)
    first = costs.seconds(0, costs.stages[0])
    begins = view.now + busy * rate
    slack = slack_of_peers = even = math.inf
    peers = 0
    for job in view.waiting:
        takes = first if job.least == costs.stages[0] else costs.seconds(0, job.least)
        room = job.due - begins - takes
        slack = min(slack, room)
        if job.priority >= priority:
            peers += 1
            slack_of_peers = min(slack_of_peers, room)
            even = min(even, ((job.due - kept_back_s - view.now) / rate - busy) / peers)
        begins += takes * rate
    if not peers:
        return Pressure(slack)
    allowed = view.arrivals.allowed_s
    age = max(0.0, allowed - first - slack_of_peers) if allowed < math.inf else None
    return Pressure(slack, age, _price(view, even))


def _price(view: View, share: float) -> float:
    """The slope of the upgrade that no longer fits into that many seconds for each."""
    left = share / view.costs.slow
    for upgrade in view.costs.upgrades(0):
        left -= upgrade.seconds
        if left < 0:
            return upgrade.slope / view.costs.slow
    return 0.0
