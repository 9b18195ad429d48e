"""What the policies reach under load, on a virtual clock: the promises of `docs/concepts/serving.md`."""

from __future__ import annotations

from functools import cache

import pytest
from tests.unit.runtime.fakes.tables import table_of

from anytimenet.serving.scheduling.policies.known import known_policies
from anytimenet.serving.simulation.load import LOADS
from anytimenet.serving.simulation.report import Report
from anytimenet.serving.simulation.simulator import Site, simulate

NETS = {
    "five stages": ((2, 4, 6, 8, 10), (0.52, 0.63, 0.69, 0.73, 0.75)),
    "ten stages": (
        tuple(1.06 + 0.99 * each for each in range(10)),
        (0.55, 0.63, 0.67, 0.70, 0.72, 0.735, 0.745, 0.752, 0.757, 0.76),
    ),
}
RATES = ("0.5 full", "1.5 full", "0.5 C1", "0.8 C1", "1.5 C1")
FULL_ONLY = ("full", "full_or_refuse")


def site(net: str, policy: str, workers: int = 1) -> Site:
    ends, accuracy = NETS[net]
    costs = (0.0, *ends)
    stages = range(len(costs))
    table = table_of({(a, b): costs[b] - costs[a] for a in stages for b in stages if a < b})
    return Site(table, accuracy, policy=policy, workers=workers)


@cache
def reached(net: str, policy: str, rate: str, load: str = "poisson", requests: int = 1500) -> Report:
    ends, _ = NETS[net]
    share, of = rate.split()
    a_second = float(share) * 1000 / (ends[-1] if of == "full" else ends[0])
    times = LOADS[load](a_second, requests / a_second, 1)
    return simulate(site(net, policy), times, 4 * ends[-1] / 1000)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("rate", RATES)
def test_no_policy_gets_more_right_in_time(net, rate):
    ours = reached(net, "anytime", rate).useful_goodput
    for policy in known_policies():
        assert ours >= 0.98 * reached(net, policy, rate).useful_goodput, policy


@pytest.mark.parametrize("net", NETS)
def test_up_to_most_of_what_stage_1_could_do_everybody_is_answered_in_time(net):
    assert all(reached(net, "anytime", rate).in_time >= 0.99 for rate in RATES[:-1])


@pytest.mark.parametrize("net", NETS)
def test_under_that_load_it_gets_two_and_a_half_times_as_much_right_as_full_nets(net):
    full = max(reached(net, policy, "0.8 C1").useful_goodput for policy in FULL_ONLY)
    assert reached(net, "anytime", "0.8 C1").useful_goodput >= 2.5 * full


@pytest.mark.parametrize("net", NETS)
def test_with_time_for_all_it_is_as_accurate_as_the_full_net(net):
    full = NETS[net][1][-1]
    assert reached(net, "anytime", "0.5 full", requests=4000).accuracy >= full - 0.003


@pytest.mark.parametrize("load", ["bursts", "diurnal"])
def test_what_comes_unevenly_is_served_as_well_as_by_any_other(load):
    for rate in ("1.5 full", "0.5 C1"):
        ours = reached("five stages", "anytime", rate, load).useful_goodput
        for policy in known_policies():
            assert ours >= 0.98 * reached("five stages", policy, rate, load).useful_goodput, policy
