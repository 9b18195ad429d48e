"""The scheduler of a server, or of several, on a clock that jumps from event to event."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from anytimenet.core import checks
from anytimenet.core.answers.standing import Validated
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.serving.request import Overloaded, Request
from anytimenet.serving.scheduling.costs import Costs
from anytimenet.serving.scheduling.jobs import Answered, Dropped, Job, Work
from anytimenet.serving.scheduling.policies.known import policy_named
from anytimenet.serving.scheduling.policies.policy import Policy
from anytimenet.serving.scheduling.scheduler import Scheduler
from anytimenet.serving.simulation.report import ANSWERED, EXPIRED, LATE, REFUSED, Fates, Report, reported


@dataclass(frozen=True)
class Site:
    """What is simulated: replicas of a server of one net.

    Attributes:
        table: what segments take.
        validated: accuracy of each stage.
        policy: a name of `known_policies()`.
        workers: engine threads of a replica.
        replicas: servers; each request goes to the one with the least work before it.
        queue_limit: requests that wait at most, at each.
        spread: standard deviation of a segment's time over its median, log-normal.
        overhead_s: what a request takes of a worker beside its segments.
    """

    table: CostTable
    validated: Validated
    policy: str = "anytime"
    workers: int = 1
    replicas: int = 1
    queue_limit: int = 1024
    spread: float = 0.03
    overhead_s: float = 0.0

    def __post_init__(self) -> None:
        checks.settle(self, "workers", checks.whole_number, 1, 4096)
        checks.settle(self, "replicas", checks.whole_number, 1, 4096)
        checks.settle(self, "spread", checks.number, 0, 2)
        checks.settle(self, "overhead_s", checks.number, 0)


def simulate(
    site: Site,
    times: Sequence[float] | np.ndarray,
    deadline_s: float | Sequence[float] | np.ndarray,
    *,
    seed: int = 0,
    policy: Policy | None = None,
) -> Report:
    """What becomes of requests that come at `times`.

    An answer of stage k counts as right with the validated accuracy of stage k.

    Args:
        site: what serves.
        times: seconds, rising.
        deadline_s: seconds that each request allows, one for all or one each.
        seed: of the times of segments.
        policy: instead of the site's, for one replica.

    Raises:
        ValueError: for times that do not rise, or deadlines that are not one each.
    """
    times = np.asarray(times, float)
    if times.ndim != 1 or (np.diff(times) < 0).any() or not np.isfinite(times).all():
        raise ValueError("times must be finite seconds that rise")
    allowed = np.broadcast_to(np.asarray(deadline_s, float), times.shape)
    if not (allowed > 0).all():
        raise ValueError("deadline_s must be above 0")
    return _Run(site, times, allowed, seed, policy).report()


class _Run:
    def __init__(
        self, site: Site, times: np.ndarray, allowed: np.ndarray, seed: int, policy: Policy | None
    ) -> None:
        self.site, self.times, self.allowed = site, times, allowed
        self.drawn = np.random.default_rng((seed, 2))
        self.schedulers = [
            Scheduler(
                Costs(site.table, site.validated),
                policy_named(site.policy) if policy is None else policy,
                workers=site.workers,
                queue_limit=site.queue_limit,
                states=site.workers + 64,
            )
            for _ in range(site.replicas)
        ]
        self.stage = np.zeros(len(times), np.int64)
        self.fate = np.full(len(times), REFUSED)
        self.latency = np.full(len(times), math.nan)
        self.events: list[tuple[float, int, int, Work | None]] = []
        self.count = 0
        self.busy_s = 0.0
        self.woken = [math.inf] * site.replicas
        self.noise: Iterator[float] = iter(())

    def report(self) -> Report:
        times, place = self.times, 0
        while place < len(times) or self.events:
            if self.events and (place == len(times) or self.events[0][0] <= times[place]):
                now, _, replica, work = heapq.heappop(self.events)
                if work is not None:
                    self.schedulers[replica].finished(work, now)
                elif now >= self.woken[replica]:
                    self.woken[replica] = math.inf
            else:
                now, replica = float(times[place]), 0
                if len(self.schedulers) > 1:
                    replica = min(range(len(self.schedulers)), key=lambda each: self._load(each, now))
                request = Request(now, now + float(self.allowed[place]))
                with suppress(Overloaded):
                    self.schedulers[replica].submit(request, now, tag=place)
                place += 1
            self._go_on(replica, now)
        return reported(
            self.site.policy,
            self.site.workers * self.site.replicas,
            self.times,
            Fates(self.fate, self.stage, self.latency, self._right()),
            self.busy_s,
        )

    def _go_on(self, replica: int, now: float) -> None:
        scheduler = self.schedulers[replica]
        while (work := scheduler.next_work(now)) is not None:
            takes = (work.ends - now) * self._noise()
            if work.start == 0:
                takes += self.site.overhead_s
            self.busy_s += takes
            self._at(now + takes, replica, work)
        for outcome in scheduler.outcomes():
            self._ended(outcome.job, outcome, now)
        scheduler.groups_over()
        wake_at = scheduler.wake_at()
        if wake_at is not None and max(wake_at, now) < self.woken[replica]:
            self.woken[replica] = max(wake_at, now + 1e-9)
            self._at(self.woken[replica], replica, None)

    def _ended(self, job: Job, outcome: object, now: float) -> None:
        place: int = job.tag
        if isinstance(outcome, Answered):
            late = now > job.due + 1e-9
            self.fate[place] = LATE if late else ANSWERED
            self.stage[place] = outcome.stage
            self.latency[place] = now - job.request.arrived
        elif isinstance(outcome, Dropped):
            self.fate[place] = REFUSED if outcome.reason == "overload" else EXPIRED

    def _at(self, when: float, replica: int, work: Work | None) -> None:
        self.count += 1
        heapq.heappush(self.events, (when, self.count, replica, work))

    def _load(self, replica: int, now: float) -> tuple[float, int]:
        view = self.schedulers[replica].view
        left = sum(max(0.0, work.ends - now) for work in view.running)
        each = view.costs.seconds(0, view.costs.stages[0])
        return left + (len(view.waiting) + len(view.paused)) * each, replica

    def _noise(self) -> float:
        if not self.site.spread:
            return 1.0
        found = next(self.noise, None)
        if found is None:
            sigma = self.site.spread
            self.noise = iter(np.exp(self.drawn.normal(0.0, sigma, 4096)).tolist())
            found = next(self.noise)
        return float(found)

    def _right(self) -> np.ndarray:
        """The probability that each was answered right."""
        return np.array([0.0, *(value or 0.0 for value in self.site.validated)])[self.stage]
