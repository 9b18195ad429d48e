"""Plans by energy, against every setting and path; counters of a made-up machine."""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.runtime.fakes.clock import FakeClock
from tests.unit.runtime.fakes.tables import in_proportion, scores, table_of

from anytimenet.core.errors import BackendError
from anytimenet.runtime.planning.energy import plan_energy
from anytimenet.runtime.planning.planner import Planner
from anytimenet.runtime.planning.power import EnergyCounter, PowerSetting, measure_power
from anytimenet.runtime.planning.slowdown import Slowdown

RISING = (0.6, 0.7, 0.8, 0.85)
power_settings = st.lists(
    st.builds(
        lambda extra, idle, slow: PowerSetting(f"{extra}", extra + idle, idle, slow),
        st.integers(0, 30),
        st.integers(0, 5),
        st.sampled_from((0.5, 1.0, 2.0)),
    ),
    min_size=1,
    max_size=3,
)


@examples(80)
@given(data=st.data(), choices=power_settings, remaining=st.integers(1, 60))
def test_no_path_in_any_setting_does_better(data, choices, remaining):
    stages = data.draw(st.integers(1, 4))
    pairs = [(a, b) for a in range(stages) for b in range(a + 1, stages + 1)]
    times = {pair: data.draw(st.integers(1, 20)) for pair in pairs}
    validated = data.draw(scores(stages).filter(lambda found: None not in found))
    planner = Planner(table_of(times), validated, slowdown=Slowdown(variance=0.0, least_noise=0.0))

    every = []
    for setting in choices:
        for stops in (each for n in range(stages) for each in combinations(range(1, stages + 1), n + 1)):
            busy = sum(times[segment] for segment in pairwise((0, *stops))) * setting.slowdown
            if busy <= remaining:
                best = max(validated[stop - 1] for stop in stops)
                every.append((best, setting.joules(busy, remaining)))

    least = data.draw(st.floats(0, 1))
    plan = plan_energy(planner, choices, remaining, least_accuracy=least)
    enough = [joules for accuracy, joules in every if accuracy >= least]
    assert plan.met is bool(enough)
    if enough:
        assert plan.joules == pytest.approx(min(enough))
        assert plan.plan.expected >= least

    most = data.draw(st.floats(0, 1))
    plan = plan_energy(planner, choices, remaining, most_joules=most)
    affordable = [accuracy for accuracy, joules in every if joules <= most + 1e-12]
    if affordable and plan.met:
        assert plan.plan.expected == pytest.approx(max(affordable))
        assert plan.joules <= most
    assert plan.met is bool([joules for _, joules in every if joules <= most])


def test_a_quick_setting_may_be_the_saving_one():
    """Where waiting is cheap it pays to be done soon: 30 W for 4 ms are less than 20 W for 8."""
    race, crawl = PowerSetting("race", 30, 1), PowerSetting("crawl", 20, 1, slowdown=2)
    assert (
        plan_energy(Planner(in_proportion(4), RISING), [crawl, race], 30, least_accuracy=0.84).setting is race
    )


def test_what_stands_costs_nothing_more():
    plan = plan_energy(
        Planner(in_proportion(4), RISING), [PowerSetting("full", 30)], 30, least_accuracy=0.7, start=2
    )
    assert (plan.plan.path, plan.joules, plan.met) == ((), 0.0, True)


def test_an_accuracy_out_of_reach_is_said_not_to_be_met():
    planner = Planner(in_proportion(4), RISING)
    plan = plan_energy(planner, [PowerSetting("full", 30)], 1000, least_accuracy=0.99)
    assert (plan.met, plan.plan.stage) == (False, 4)
    plan = plan_energy(planner, [PowerSetting("full", 30)], 0.1, least_accuracy=0.5)  # not even in time
    assert (plan.met, plan.plan.path) == (False, ((0, 1),))


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"least_accuracy": 0.5, "most_joules": 1.0},
        {"least_accuracy": math.nan},
        {"most_joules": -1.0},
    ],
)
def test_limits_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match=r"least_accuracy|most_joules"):
        plan_energy(Planner(in_proportion(4), RISING), [PowerSetting("full", 30)], 10, **wrong)


def test_other_arguments_that_cannot_be_are_refused():
    planner, full = Planner(in_proportion(4), RISING), PowerSetting("full", 30)
    with pytest.raises(ValueError, match="settings"):
        plan_energy(planner, [], 10, least_accuracy=0.5)
    with pytest.raises(TypeError, match="settings"):
        plan_energy(planner, ["full"], 10, least_accuracy=0.5)
    with pytest.raises(ValueError, match="remaining_ms"):
        plan_energy(planner, [full], math.inf, least_accuracy=0.5)
    with pytest.raises(ValueError, match="idle_watts"):
        PowerSetting("wrong", 1.0, 2.0)


def write(root: Path, zone: str, microjoules: int, most: int = 1_000_000) -> None:
    (root / zone).mkdir(exist_ok=True)
    (root / zone / "energy_uj").write_text(f"{microjoules}\n")
    (root / zone / "max_energy_range_uj").write_text(f"{most}\n")


def test_the_counter_adds_packages_leaves_their_parts_out_and_starts_again(tmp_path):
    write(tmp_path, "intel-rapl:0", 900_000)
    write(tmp_path, "intel-rapl:1", 100_000)
    write(tmp_path, "intel-rapl:0:0", 5)
    counter = EnergyCounter(tmp_path)
    assert counter.joules() == 0
    write(tmp_path, "intel-rapl:0", 100_000)  # full, and on from 0
    write(tmp_path, "intel-rapl:1", 350_000)
    write(tmp_path, "intel-rapl:0:0", 999_999)
    assert counter.joules() == pytest.approx(0.2 + 0.25)
    assert counter.joules() == pytest.approx(0.45)


def test_power_is_measured_while_it_waits_and_while_it_works(tmp_path):
    clock, used = FakeClock(), [0.0]

    def spend(seconds: float, watts: float) -> None:
        clock.advance(seconds)
        used[0] += 1e6 * seconds * watts
        write(tmp_path, "intel-rapl:0", int(used[0]), most=10**12)

    spend(0, 0)
    power = measure_power(
        EnergyCounter(tmp_path),
        lambda: spend(0.25, 12),
        seconds=2,
        clock=clock,
        sleep=lambda seconds: spend(seconds, 3),
    )
    assert (power.watts, power.idle_watts) == (pytest.approx(12), pytest.approx(3))


def test_a_machine_that_does_not_tell_says_so(tmp_path):
    with pytest.raises(BackendError, match="power table"):
        EnergyCounter(tmp_path)
    (tmp_path / "intel-rapl:0").mkdir()
    with pytest.raises(BackendError, match="power table"):
        EnergyCounter(tmp_path)
