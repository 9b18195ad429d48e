"""The price of time: what the decision process promises holds when its queue is played through."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from anytimenet.serving.scheduling.policies.outlook import Outlook

SECONDS, VALUES = (0.002, 0.004, 0.006, 0.008, 0.01), (0.52, 0.63, 0.69, 0.73, 0.75)


def played(
    outlook: Outlook | None, rate: float, allowed: float, stage: int = 0, count: int = 20_000
) -> float:
    """Mean accuracy over offered requests of one worker: by the prices of `outlook`, or always one stage."""
    arrivals = np.cumsum(np.random.default_rng(7).exponential(1 / rate, 20_000))
    free, total = 0.0, 0.0
    for arrived in arrivals:
        begins = max(free, arrived)
        age = begins - arrived
        if outlook is None:
            chosen = stage if age + SECONDS[stage] <= allowed else None
        else:
            worth = {
                k: VALUES[k] - outlook.cost(age, SECONDS[k])
                for k in range(len(SECONDS))
                if age + SECONDS[k] <= allowed
            }
            chosen = max(worth, key=worth.__getitem__, default=None)
        if chosen is not None:
            total += VALUES[chosen]
            free = begins + SECONDS[chosen]
    return total / len(arrivals)


@pytest.mark.parametrize("load", [0.1, 0.3, 0.5, 0.8, 1.5])
def test_its_decisions_reach_what_it_promises_and_beat_every_fixed_stage(load):
    rate, allowed = load / SECONDS[0], 0.03
    outlook = Outlook(SECONDS, VALUES, rate, allowed, 1)
    reached = played(outlook, rate, allowed)
    assert reached == pytest.approx(outlook.mean, abs=0.02)
    for stage in range(len(SECONDS)):
        assert reached >= played(None, rate, allowed, stage) - 0.003


def test_one_stage_alone_is_a_queue_whose_requests_give_up():
    """With one stage nothing is chosen: the mean is the share that is served in time."""
    rate, allowed = 450.0, 0.01
    outlook = Outlook(SECONDS[:1], (1.0,), rate, allowed, 1)
    served, free = 0, 0.0
    arrivals = np.cumsum(np.random.default_rng(3).exponential(1 / rate, 50_000))
    for arrived in arrivals:
        begins = max(free, arrived)
        if begins - arrived + SECONDS[0] <= allowed:
            served, free = served + 1, begins + SECONDS[0]
    assert outlook.mean == pytest.approx(served / len(arrivals), abs=0.02)


@examples(25)
@given(
    load=st.floats(0.05, 2.0),
    allowed=st.floats(0.012, 0.2),
    workers=st.integers(1, 16),
    age=st.floats(0, 0.2),
)
def test_time_costs_more_the_longer_it_is_and_never_gains(load, allowed, workers, age):
    outlook = Outlook(SECONDS, VALUES, load * workers / SECONDS[0], allowed, workers)
    for where in (age, None):
        costs = [outlook.cost(where, seconds) for seconds in (0.0, 0.001, 0.004, 0.01)]
        assert costs[0] == 0.0
        assert all(later >= sooner - 1e-6 for sooner, later in pairwise(costs))
    # However time is shared out, no more can be had of it than any price of it says.
    share = SECONDS[0] / load
    prices = np.linspace(0, VALUES[0] / SECONDS[0], 200)
    net = np.array(VALUES)[:, None] - np.array(SECONDS)[:, None] * prices
    bound = (prices * share + np.maximum(net.max(axis=0), 0)).min()
    assert 0.0 <= outlook.mean <= bound + 1e-3
