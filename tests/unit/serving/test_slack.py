"""Slack: what routing and scaling read, in closed form."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.serving.slack import SlackMeter, SlackScaling, by_slack


def test_slack_is_what_the_whole_net_would_leave() -> None:
    meter = SlackMeter()
    assert math.isnan(meter.mean)
    meter.came(0.2, waited_s=0.05, full_s=0.05)
    assert meter.mean == pytest.approx(0.5)


def test_a_refused_request_has_less_than_none() -> None:
    meter = SlackMeter(memory=1)
    meter.came(0.1, waited_s=0.1, full_s=0.02)
    assert meter.mean == pytest.approx(-0.2)
    meter.came(0.001, waited_s=10, full_s=10)
    assert meter.mean == -1


def test_requests_without_a_deadline_have_no_slack() -> None:
    meter = SlackMeter()
    meter.came(math.inf, 0, 0.01)
    meter.came(0, 0, 0.01)
    assert math.isnan(meter.mean)


def test_the_mean_forgets_as_it_says() -> None:
    """After n requests of another slack, (1 - 1 / memory)^n of the old one is left."""
    meter = SlackMeter(memory=10)
    meter.came(1, 0, 0)
    for _ in range(20):
        meter.came(1, 0.5, 0.5)
    assert meter.mean == pytest.approx(0.9**20)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(1e-4, 1), min_size=1),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50)),
)
def test_the_first_replica_would_answer_soonest(work_s: dict[str, float], under_way: dict[str, int]) -> None:
    order = by_slack(work_s, under_way)
    ready = [work_s[one] * (1 + under_way.get(one, 0)) for one in order]
    assert sorted(order) == sorted(work_s)
    assert ready == sorted(ready)


@given(st.integers(1, 100), st.floats(-1, 1), st.floats(0, 1))
def test_scaling_goes_up_for_no_slack_and_down_only_where_the_rest_can_do_it(
    now: int, slack: float, utilisation: float
) -> None:
    scaling = SlackScaling()
    wanted = scaling.replicas(now, slack, utilisation)
    assert (wanted > now) == (slack < scaling.low)
    assert wanted >= 1
    if wanted < now:
        assert slack > scaling.high
        assert utilisation * now / wanted <= scaling.busiest + 1e-9
    assert scaling.replicas(now, scaling.low, 1.0) == now


def test_idle_replicas_go_one_at_a_time() -> None:
    counts, now = [], 5
    for _ in range(6):
        now = SlackScaling().replicas(now, math.nan, 0.0)
        counts.append(now)
    assert counts == [4, 3, 2, 1, 1, 1]


def test_scaling_refuses_what_would_never_settle() -> None:
    with pytest.raises(ValueError, match="below high"):
        SlackScaling(low=0.5, high=0.5)
