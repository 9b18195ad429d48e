"""Accuracy scaling: every millisecond goes where it buys the most accuracy, over everybody who waits."""

from __future__ import annotations

import math
from itertools import islice

from anytimenet.serving.scheduling.jobs import Group, Job
from anytimenet.serving.scheduling.policies.feasible import too_late_s
from anytimenet.serving.scheduling.policies.misses import Misses
from anytimenet.serving.scheduling.policies.outlook import Outlook
from anytimenet.serving.scheduling.policies.policy import Continue, Start, View, Wait
from anytimenet.serving.scheduling.policies.pressure import Pressure, pressure

_BIN = math.log(1.25)
_MOST_OUTLOOKS = 256
_MOMENT_S, _FINE_S = 1e-4, 2.5e-4
_LOOKED_THROUGH = 512
_QUICKER = 0.95
_ANY = -(10**6)
"""Below every priority."""
_SMALL = 0.25
_BUSY = 0.7
"""Of the workers' time, that full answers to all would take: below it nobody waits for company."""


class Anytime:
    """Goes on with a request while a further stage gains more than its time is worth to the others.

    Two prices of time are compared with the gain in validated accuracy, and the higher one counts. What those
    who wait lose, if the time until their deadlines were shared out evenly (`pressure`); and what those to
    come lose, who are expected at the rate of late (`outlook`). What neither foresees shows in requests that
    are missed: others are then planned to end sooner than at their deadlines, until few are (`misses`).
    Nobody's further stage makes another one's first stage late; a request is refused at admission, and only
    if its least stage cannot be in time.

    Where a run can be ended at its deadline it goes to the stage that was chosen for it in one go, if that is
    a small part of what requests allow: every border of a segment costs time of its own.

    The most urgent begins first, and who has begun goes on first. Batches are formed only where they gain
    (`Costs.batches`); a free worker waits for company only under load, and never so long that the full net
    would come too late.
    """

    def __init__(self) -> None:
        self._outlooks: dict[tuple[int, int, int, int, int], Outlook] = {}
        self._known_at = (-1, -math.inf)
        self._targets: dict[int, int | None] = {}
        self._pressures: dict[int, Pressure] = {}
        self._misses = Misses()

    def refusal_s(self, view: View, job: Job) -> float | None:
        """None if everybody can have the least answer; else how late somebody would be."""
        costs = view.costs
        size = costs.most_together
        return too_late_s(
            view,
            job,
            lambda each: costs.seconds(0, each.least, size) / size,
            lambda each: costs.seconds(0, each.least, size),
        )

    def hopeless(self, view: View, job: Job) -> bool:
        """Whether not even its least stage would be in time."""
        return view.now + view.costs.seconds(0, job.least) > job.due

    def ends(self, view: View, group: Group, job: Job) -> bool:
        """Whether nothing further is worth its time, or fits into what is left for this one."""
        stop = self._target(view, group)
        if stop is None:
            return True
        segment = _towards(view, group.stage, stop, group.jobs)
        return view.now + view.costs.sure_seconds(*segment, len(group.jobs)) > job.due

    def choose(self, view: View) -> Start | Continue | Wait | None:
        """Goes on with who has begun, where those who wait can afford that; else begins the most urgent."""
        first = view.waiting.first
        later: Continue | None = None
        for group in reversed(view.paused):
            stop = self._target(view, group)
            if stop is None:
                continue
            going_on = Continue(group, *_towards(view, group.stage, stop, group.jobs))
            if first is not None and group.due == math.inf and view.now < group.order:
                later = later or going_on  # it has all the time
                continue
            return going_on
        if first is None:
            return later
        start = self._start(view, first)
        return later if later is not None and isinstance(start, Wait) else start

    def dropped(self, view: View, job: Job) -> None:
        """Makes plans more careful, unless nothing could have answered it in time."""
        request, costs = job.request, view.costs
        if request.deadline is None or request.deadline - request.arrived > costs.seconds(0, job.least):
            self._misses.missed(view.now)

    def answered(self, view: View, job: Job) -> None:
        """Makes plans a little bolder again."""
        self._misses.kept(view.now)

    def _start(self, view: View, first: Job) -> Start | Wait:
        """The most urgent one, alone or with as many others as are worth while and in time."""
        costs = view.costs
        if costs.most_together > 1:
            waiting = len(view.waiting)
            size = costs.together(min(waiting, costs.most_together))
            if size < costs.most_together:
                until = first.due - costs.seconds(0, costs.best, costs.together_beyond(waiting))
                if until > view.now and until < math.inf and self._busy(view) and not self._due(view, until):
                    return Wait(until)
            jobs = self._most_in_time(view, size)
            if jobs:
                return Start(jobs, self._first_stop(view, jobs))
        return Start([first], self._first_stop(view, [first]))

    def _first_stop(self, view: View, jobs: list[Job]) -> int:
        """The least stage, or further in one jump where that is quicker and will be worth it anyway."""
        costs, size = view.costs, len(jobs)
        least = max(job.least for job in jobs)
        if size == 1 and jobs[0].due < math.inf and self._pressed(view):
            return _towards(view, 0, least, jobs)[1]
        target = self._best_target(view, jobs, 0, jobs[0].due)
        if target is not None and target > least:
            in_steps = costs.seconds(0, least, size) + costs.seconds(least, target, size)
            if _in_one_go(view, 0, target, jobs) or costs.seconds(0, target, size) < _QUICKER * in_steps:
                least = target
        return _towards(view, 0, least, jobs)[1]

    def _most_in_time(self, view: View, most: int) -> list[Job]:
        """Of all batches of up to so many, the one with the most least answers in time per second.

        Where some are so urgent that a batch would have to be small for them, they are passed over.
        """
        costs, best, found = view.costs, 0.0, list[Job]()
        jobs = list(islice(view.waiting, _LOOKED_THROUGH))
        for size in {most, *(each for each in costs.batches if each < most)}:
            takes = costs.seconds(0, jobs[0].least, size)
            fit = [job for job in jobs if view.now + takes <= job.due and job.least == jobs[0].least][:size]
            rate = len(fit) / costs.seconds(0, jobs[0].least, max(len(fit), 1))
            if rate > best:
                best, found = rate, fit
        return found

    def _busy(self, view: View) -> bool:
        costs = view.costs
        return view.arrivals.rate(view.now) * costs.seconds(0, costs.best) > _BUSY * view.workers

    def _due(self, view: View, until: float) -> bool:
        """Whether somebody's least answer would be late by waiting."""
        return self._pressure(view, _ANY).slack < until - view.now

    def _target(self, view: View, group: Group) -> int | None:
        """The stage that a group is best run to; None where everybody is better answered now."""
        self._forget(view)
        key = id(group)
        if key not in self._targets:
            waits = [job.least for job in group.jobs if not job.answered]
            if waits:
                ahead = [stage for stage in view.costs.stages if stage > group.stage]
                enough = (stage for stage in ahead if stage >= max(waits))
                self._targets[key] = next(enough, ahead[-1])
            else:
                self._targets[key] = self._best_target(view, group.jobs, group.stage, group.due)
        return self._targets[key]

    def _pressure(self, view: View, priority: int) -> Pressure:
        self._forget(view)
        if priority not in self._pressures:
            self._pressures[priority] = pressure(view, priority, self._kept_back_s(view))
        return self._pressures[priority]

    def _forget(self, view: View) -> None:
        """What was found holds until something happens, or some time has passed."""
        version, at = self._known_at
        if version != view.version or not 0 <= view.now - at < _MOMENT_S:
            self._known_at = view.version, view.now
            self._targets.clear()
            self._pressures.clear()

    def _best_target(self, view: View, jobs: list[Job], at: int, due: float) -> int | None:
        """The stage ahead that gains most, less what its time costs others; None where none gains."""
        costs, size = view.costs, len(jobs)
        if size == 1 and due < math.inf and self._pressed(view):
            return None
        press = self._pressure(view, max(job.priority for job in jobs))
        outlook, slack = self._outlook(view), press.slack - self._kept_back_s(view)
        best, target = 0.0, None
        for stage in costs.stages:
            if stage <= at:
                continue
            takes = costs.seconds(at, stage, size)
            over = view.now + costs.sure_seconds(at, stage, size)
            value = costs.value(stage)
            gain = sum(max(0.0, value - costs.value(job.standing)) for job in jobs if over <= job.due)
            if due < math.inf:
                if takes > slack * view.workers:
                    break
                gain -= self._cost(view, outlook, press, takes)
            if gain > best:
                best, target = gain, stage
        return target

    def _pressed(self, view: View) -> bool:
        """Whether the most urgent one alone leaves no time for anything further, which is quickly seen."""
        first = view.waiting.first
        if first is None or first.due == math.inf:
            return False
        return first.due - view.now - view.costs.seconds(0, first.least) < self._kept_back_s(view)

    def _kept_back_s(self, view: View) -> float:
        """Before each deadline, so that few are missed; 0 where requests have none."""
        allowed = view.arrivals.allowed_s
        return self._misses.share(view.now) * allowed if allowed < math.inf else 0.0

    def _cost(self, view: View, outlook: Outlook | None, press: Pressure, takes: float) -> float:
        """Accuracy that others lose if so many seconds of work are done before theirs."""
        to_come = outlook.cost(press.age, takes / view.workers) if outlook is not None else 0.0
        return max(to_come, press.price * takes)

    def _outlook(self, view: View) -> Outlook | None:
        """That of the rate of late, kept; None as long as nobody knows it."""
        costs, arrivals = view.costs, view.arrivals
        rate, allowed = arrivals.rate(view.now), arrivals.allowed_s
        if rate <= 0 or allowed == math.inf:
            return None
        allowed -= self._kept_back_s(view)
        size = costs.most_together
        if size > 1:  # as many as come in half of the time that they allow
            size = costs.together(max(1, min(size, int(rate * allowed / 2))))
        key = _bin(rate), _bin(allowed), _bin(costs.slow), size, round(costs.overhead_s / _FINE_S)
        found = self._outlooks.get(key)
        if found is None:
            if len(self._outlooks) >= _MOST_OUTLOOKS:
                self._outlooks.clear()
            found = self._outlooks[key] = _outlook_of(view, key)
        return found


def _towards(view: View, start: int, stop: int, jobs: list[Job]) -> tuple[int, int]:
    """The next segment on the way; who wants every stage gets it."""
    if _in_one_go(view, start, stop, jobs):
        return start, stop
    if any(job.request.stream for job in jobs):
        stop = min(stage for stage in view.costs.stages if stage > start)
    return view.costs.way(start, stop)[0]


def _in_one_go(view: View, start: int, stop: int, jobs: list[Job]) -> bool:
    """Whether it is run without a look at the others on the way."""
    if not view.in_one_go or len(jobs) > 1 or jobs[0].request.stream:
        return False
    small = view.costs.seconds(start, stop) <= _SMALL * view.arrivals.allowed_s
    return small and all(a >= start for a, _ in view.costs.way(start, stop))


def _bin(value: float) -> int:
    return round(math.log(value) / _BIN)


def _outlook_of(view: View, key: tuple[int, int, int, int, int]) -> Outlook:
    """Of the middle of a bin; only of stages that are better than all quicker ones.

    Those to come will take their overhead, too; those who wait have taken it.
    """
    costs, size = view.costs, key[3]
    slow = math.exp(key[2] * _BIN) / costs.slow
    seconds: list[float] = []
    values: list[float] = []
    for stage in sorted(costs.stages, key=lambda each: costs.seconds(0, each)):
        if not values or costs.value(stage) > values[-1]:
            seconds.append(slow * costs.seconds(0, stage, size) + key[4] * _FINE_S)
            values.append(costs.value(stage))
    allowed = max(math.exp(key[1] * _BIN), 1.05 * seconds[0])
    return Outlook(seconds, values, math.exp(key[0] * _BIN), allowed, view.workers * size)
