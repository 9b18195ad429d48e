"""How much energy this machine uses, where it tells: the counters of RAPL under /sys/class/powercap."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anytimenet.core import checks
from anytimenet.core.errors import BackendError

POWERCAP = Path("/sys/class/powercap")
_MICRO = 1e-6


@dataclass(frozen=True)
class PowerSetting:
    """A setting of the machine, such as a power cap, and what it costs.

    Attributes:
        name: of the setting.
        watts: while a segment runs.
        idle_watts: while the machine waits for the deadline.
        slowdown: latency in this setting over that of the cost table.

    Raises:
        TypeError, ValueError: for values out of range, or waiting that costs more than running.

    >>> PowerSetting("15 W", watts=15, idle_watts=4, slowdown=1.6)
    PowerSetting(name='15 W', watts=15, idle_watts=4, slowdown=1.6)
    """

    name: str
    watts: float
    idle_watts: float = 0.0
    slowdown: float = 1.0

    def __post_init__(self) -> None:
        checks.settle(self, "name", checks.words)
        checks.settle(self, "watts", checks.number, 0)
        checks.settle(self, "idle_watts", checks.number, 0)
        checks.settle(self, "slowdown", checks.number, above=0)
        if self.idle_watts > self.watts:
            raise ValueError(f"idle_watts {self.idle_watts} must not be above watts, {self.watts}")

    def joules(self, busy_ms: float, until_ms: float) -> float:
        """Of a run of `busy_ms`, and of waiting from there to the deadline at `until_ms`.

        >>> PowerSetting("full", watts=20, idle_watts=5).joules(100, 300)
        3.0
        """
        return (self.watts * busy_ms + self.idle_watts * max(0.0, until_ms - busy_ms)) / 1000


class EnergyCounter:
    """The energy that the processor packages have used, from the counters of Linux's powercap interface.

    The counters start again from 0 when they are full, after some minutes under load: read them more often.
    Most systems let only root read them.

    Args:
        root: the folder of the interface.

    Raises:
        BackendError: if the machine does not tell its energy, or not to this user.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self._zones = [
            (zone / "energy_uj", _number(zone / "max_energy_range_uj"))
            for zone in sorted(checks.path(root, "root").glob("*:*"))
            if zone.name.count(":") == 1  # a package; what has more is a part of one
        ]
        if not self._zones:
            raise BackendError(
                f"this machine does not tell its energy (no zone in {root}): give a power table"
            )
        self._last = [_number(file) for file, _ in self._zones]
        self._used = 0

    def joules(self) -> float:
        """Used since the counter was made.

        Raises:
            BackendError: if the counters cannot be read any more.
        """
        now = [_number(file) for file, _ in self._zones]
        for before, after, (_, most) in zip(self._last, now, self._zones, strict=True):
            self._used += after - before if after >= before else after + most - before
        self._last = now
        return self._used * _MICRO


def measure_power(
    counter: EnergyCounter,
    work: Callable[[], object],
    name: str = "as it is",
    *,
    seconds: float = 2.0,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], object] = time.sleep,
) -> PowerSetting:
    """What this machine uses while it waits and while it works, each for so many seconds.

    Args:
        counter: tells the energy.
        work: runs once, such as a prediction.
        name: of the setting that is measured.
        seconds: for each of both.
        clock: seconds, for tests.
        sleep: waits, for tests.

    Raises:
        BackendError: if the counters cannot be read.
    """
    seconds = checks.number(seconds, "seconds", above=0)
    begun, before = clock(), counter.joules()
    sleep(seconds)
    idle = (counter.joules() - before) / max(clock() - begun, 1e-9)
    begun, before = clock(), counter.joules()
    while clock() - begun < seconds:
        work()
    busy = (counter.joules() - before) / max(clock() - begun, 1e-9)
    return PowerSetting(name, max(busy, idle), idle)


def _number(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BackendError(f"{file} cannot be read ({reason}): run as root, or give a power table") from error
