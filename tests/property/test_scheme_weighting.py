"""Properties of weights, for any number of stages."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes import RunFacts
from anytimenet.schemes.weighting.cost import CostWeights
from anytimenet.schemes.weighting.fixed import GivenWeights
from anytimenet.schemes.weighting.sieve import SieveWeights, sieve_units

versions = st.sampled_from(["text", "from_end", "v2", "heavy_end"])


class Stages(AnytimeNet):
    """No more of a net than a weighting asks for."""

    def __init__(self, num_stages: int) -> None:
        super().__init__()
        self.num_stages = num_stages


@given(st.integers(2, 200), versions)
def test_early_sieve_weights_sum_to_one_and_the_last_is_one(stages, version):
    built = SieveWeights(version).build(Stages(stages), RunFacts())
    weights = [*built.weights(range(1, stages + 1)).values()]
    assert math.fsum(weights[:-1]) == pytest.approx(1, rel=1e-12)
    assert weights[-1] == 1
    assert min(weights) > 0


@given(st.integers(2, 200))
def test_the_sieve_of_the_text_stops_at_the_first_level_that_fills_it(stages):
    # Brute force in decimals: round half up, one unit per distinct place and level.
    units, level = [0] * (stages + 1), 0
    while 0 in units[1:stages]:
        level += 1
        for place in {math.floor(k * stages / 2**level + 0.5) for k in range(1, 2**level)}:
            units[place] += 1
    assert sieve_units(stages) == units[1:stages]
    assert units[0] == units[stages] == 0


@given(st.integers(2, 200))
def test_the_released_sieve_counts_the_powers_of_two_that_divide_the_distance_to_the_end(stages):
    expected = [
        sum((stages - stage) % 2**m == 0 for m in range(8) if 2**m < stages) for stage in range(1, stages)
    ]
    assert sieve_units(stages, "from_end") == expected


@given(st.integers(2, 200))
def test_the_second_sieve_truncates_multiples_of_ever_smaller_steps(stages):
    units, step = [1] * stages, stages / 2
    while round(step) > 1:
        k = 1
        while int(k * step) < stages:
            units[int(k * step)] += 1
            k += 1
        step /= 2
    assert sieve_units(stages, "v2") == units[:-1]


@given(st.integers(2, 200))
def test_the_heavy_end_halves_its_extra_weight_with_the_place(stages):
    units, place, more = [1.0] * stages, stages - 1, stages / 2
    while place > 0:
        place //= 2
        units[place] += more
        more /= 2
    units[3 * stages // 4 - 1] += stages / 8
    ours, theirs = sieve_units(stages, "heavy_end"), units[:-1]
    assert [unit / sum(ours) for unit in ours] == pytest.approx([unit / sum(theirs) for unit in theirs])


@given(
    st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30),
    st.floats(1e-3, 1e3),
)
def test_a_total_is_the_sum_of_the_weights_whatever_they_are(values, total):
    stages = range(1, len(values) + 1)
    built = GivenWeights(tuple(values), total=total).build(Stages(len(values)), RunFacts())
    assert math.fsum(built.weights(stages).values()) == pytest.approx(total, rel=1e-9)


@given(st.lists(st.floats(1e3, 1e12), min_size=1, max_size=30), st.floats(-3, 3))
def test_weights_that_follow_the_cost_have_mean_one_and_the_given_power(macs, power):
    stages = range(1, len(macs) + 1)
    built = CostWeights(power).build(Stages(len(macs)), RunFacts(stage_macs=lambda: macs))
    weights = built.weights(stages)
    assert math.fsum(weights.values()) == pytest.approx(len(macs), rel=1e-9)
    # Ratios that the float format can hold: a power of 3 over nine orders of magnitude stays inside it.
    for stage in stages:
        ratio = (macs[stage - 1] / macs[0]) ** power
        assert weights[stage] == pytest.approx(weights[1] * ratio, rel=1e-9)
