"""Plans by energy: the least of it for an accuracy, or the best accuracy for a given amount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anytimenet.core import checks
from anytimenet.runtime.planning.plan import Plan
from anytimenet.runtime.planning.planner import Planner
from anytimenet.runtime.planning.power import PowerSetting
from anytimenet.runtime.planning.slowdown import Estimate


@dataclass(frozen=True)
class EnergyPlan:
    """What to run, and in which setting of the machine.

    Attributes:
        setting: the power setting.
        plan: the segments.
        joules: expected from now to the deadline, at the path's median time.
        met: whether the accuracy, or the amount of energy, that was asked for is expected.
    """

    setting: PowerSetting
    plan: Plan
    joules: float
    met: bool


def plan_energy(
    planner: Planner,
    settings: Sequence[PowerSetting],
    remaining_ms: float,
    *,
    least_accuracy: float | None = None,
    most_joules: float | None = None,
    start: int = 0,
    standing: int | None = None,
) -> EnergyPlan:
    """The plan and the power setting of the least energy, or of the best accuracy, among those in time.

    Of Wan et al., "ALERT", USENIX ATC 2020: for every setting and path, the expected accuracy at the deadline
    and the energy p t + idle (T - t). With `least_accuracy` the least energy whose expected accuracy is at
    least that; with `most_joules` the best expected accuracy whose energy is at most that, of equal ones the
    least energy. It is exact over the paths of the planner. Where no plan keeps the limit, the one that
    misses it least is given and `met` is false.

    Args:
        planner: what may be run, and how slow the machine is in its usual setting.
        settings: of the machine, one or more; `measure_power` makes one.
        remaining_ms: until the deadline, finite.
        least_accuracy: see above; this or the other.
        most_joules: see above.
        start: the stage that is finished.
        standing: the stage whose answer stands; by default `start`.

    Raises:
        TypeError, ValueError: for values out of range.

    >>> from anytimenet.core.manifest.cost_table import CostTable, Latency
    >>> table = CostTable("cpu", {"id": "here"}, "float32", 1, (3, 32, 32), {
    ...     (0, 1, 1): Latency(1.0, 1.1, 1.2, repeats=50), (0, 2, 1): Latency(5.0, 5.1, 5.2, repeats=50)})
    >>> planner = Planner(table, (0.7, 0.9))
    >>> settings = [PowerSetting("full", 20, 2), PowerSetting("saving", 6, 2, slowdown=2)]
    >>> plan_energy(planner, settings, 20, least_accuracy=0.8).setting.name
    'saving'
    >>> plan_energy(planner, settings, 8, least_accuracy=0.8).setting.name
    'full'
    """
    settings = [
        checks.instance(each, PowerSetting, "settings", "PowerSetting('full', 20.0)")
        for each in checks.several(settings, "settings")
    ]
    if not settings:
        raise ValueError("settings must not be empty: give one PowerSetting at least")
    if (least_accuracy is None) == (most_joules is None):
        raise ValueError("one of least_accuracy and most_joules is needed, and not both")
    remaining_ms = checks.number(remaining_ms, "remaining_ms")
    found = [each for setting in settings for each in _plans(planner, setting, remaining_ms, start, standing)]
    if least_accuracy is not None:
        return _least_energy(found, checks.number(least_accuracy, "least_accuracy"))
    return _best_accuracy(found, float(checks.number(most_joules, "most_joules", 0)))


def _plans(
    planner: Planner, setting: PowerSetting, remaining_ms: float, start: int, standing: int | None
) -> list[EnergyPlan]:
    now = planner.slowdown.estimate
    by = setting.slowdown
    slowed = Estimate(now.mean * by, now.deviation * by, now.waiting * by * by)
    plans = planner.plans_at(slowed, remaining_ms, start, standing)
    if not plans:
        late = planner.plan_at(slowed, remaining_ms, start, standing)
        ways = dict(planner.times_at(slowed)[0])
        plans = [(late, ways[late.stage][1])]
    return [
        EnergyPlan(setting, plan, setting.joules(time, remaining_ms), met=plan.fits) for plan, time in plans
    ]


def _least_energy(found: list[EnergyPlan], least: float) -> EnergyPlan:
    enough = [each for each in found if each.met and each.plan.expected >= least]
    if enough:
        return min(enough, key=lambda each: (each.joules, -each.plan.expected))
    best = min(found, key=lambda each: (-each.plan.expected, each.joules))
    return EnergyPlan(best.setting, best.plan, best.joules, met=False)


def _best_accuracy(found: list[EnergyPlan], most: float) -> EnergyPlan:
    within = [each for each in found if each.met and each.joules <= most]
    if within:
        return min(within, key=lambda each: (-each.plan.expected, each.joules))
    least = min(found, key=lambda each: (each.joules, -each.plan.expected))
    return EnergyPlan(least.setting, least.plan, least.joules, met=False)
