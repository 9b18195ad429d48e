"""The simulator: queues whose behaviour is known in closed form, batches, replicas, and its loads."""

from __future__ import annotations

import numpy as np
import pytest
from tests.unit.runtime.fakes.tables import table_of

from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.serving.simulation.load import LOADS, bursts, diurnal, poisson
from anytimenet.serving.simulation.planning import Objective, replicas_for
from anytimenet.serving.simulation.simulator import Site, simulate

ONE = table_of({(0, 1): 10.0})


def test_a_queue_of_one_server_waits_as_pollaczek_and_khinchine_say():
    load = 0.6
    report = simulate(Site(ONE, (1.0,), policy="full", spread=0.0), poisson(load * 100, 400, seed=4), 1e6)
    assert report.in_time == 1.0
    assert report.utilisation == pytest.approx(load, abs=0.02)
    # Mean wait of M/D/1 is load / (2 (1 - load)) of a service; its median is below.
    assert 10.0 < report.p50_ms < 10 + 10 * load / (2 * (1 - load))


def test_requests_far_apart_take_their_own_time_and_no_more():
    report = simulate(Site(ONE, (0.8,), spread=0.0), np.arange(1, 50) / 10, 0.05)
    assert (report.p50_ms, report.p99_ms) == pytest.approx((10.0, 10.0))
    assert report.stages == {1: 49}
    assert (report.late, report.refused, report.expired) == (0.0, 0.0, 0.0)


def test_the_same_seed_gives_the_same_and_nothing_is_lost():
    site = Site(table_of({(0, 1): 2.0, (1, 2): 8.0, (0, 2): 10.0}), (0.6, 0.7))
    times = poisson(400, 5, seed=2)
    first, second = (simulate(site, times, 0.03, seed=1) for _ in range(2))
    assert first == second
    assert first.in_time + first.late + first.refused + first.expired == pytest.approx(1.0)


def test_batches_serve_more_where_they_gain_and_are_not_formed_where_they_do_not():
    def table(share: float) -> CostTable:
        sizes = {size: size * (1.0 if size == 1 else share) for size in (1, 2, 4, 8)}
        entries = {(0, 1, n): Latency(10 * t, 10 * t, 10 * t, repeats=50) for n, t in sizes.items()}
        return CostTable("cuda", {"id": "0" * 8}, "float32", 1, (3, 8, 8), entries)

    times = poisson(200, 10, seed=1)
    gains, none = (simulate(Site(table(share), (1.0,)), times, 0.2) for share in (0.4, 0.95))
    assert gains.in_time > 0.99
    assert none.in_time == pytest.approx(0.5, abs=0.05)


def test_as_many_replicas_as_a_load_needs_and_no_fewer():
    site = Site(ONE, (0.9,))
    times = poisson(450, 10, seed=3)
    count, report = replicas_for(site, times, 0.06)
    assert report.in_time >= 0.99
    assert count >= 5  # 4.5 servers' worth of work
    fewer = simulate(Site(ONE, (0.9,), replicas=count - 1), times, 0.06)
    assert not Objective().kept(fewer)
    with pytest.raises(ValueError, match="2 replicas answer"):
        replicas_for(site, times, 0.06, most=2)


@pytest.mark.parametrize("name", LOADS)
def test_loads_come_at_their_rate_and_by_their_seed(name):
    times = LOADS[name](200, 60, 5)
    assert len(times) / 60 == pytest.approx(200, rel=0.1)
    assert (np.diff(times) >= 0).all()
    np.testing.assert_array_equal(times, LOADS[name](200, 60, 5))
    assert len(LOADS[name](200, 60, 6)) != len(times)


def test_bursts_are_denser_and_days_have_nights():
    counts = np.histogram(bursts(200, 60, 1, times_more=8), bins=120)[0]
    assert counts.max() > 3 * np.median(counts)
    day = np.histogram(diurnal(200, 60, 1), bins=4)[0]
    assert day[1] + day[2] > 1.8 * (day[0] + day[3])
    with pytest.raises(ValueError, match="no bursts"):
        bursts(10, 10, burst_s=6.0)


def test_what_cannot_be_simulated_is_said():
    with pytest.raises(ValueError, match="rise"):
        simulate(Site(ONE, (0.9,)), [2.0, 1.0], 0.1)
    with pytest.raises(ValueError, match="above 0"):
        simulate(Site(ONE, (0.9,)), [1.0], 0.0)
    with pytest.raises(ValueError, match="simulate less"):
        poisson(1e9, 1e9)
