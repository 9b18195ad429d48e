"""What stages and paths are worth: the order of the standing rule, and ALERT's sum."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.runtime.fakes.tables import scores

from anytimenet.core.answers.standing import standing_stage
from anytimenet.runtime.planning.latencies import certain
from anytimenet.runtime.planning.objective import expected_accuracy, stage_values, survival


@given(st.integers(1, 5).flatmap(scores), st.data())
def test_values_say_what_stands(validated, data):
    """The stage that stands is never worth less than another that is finished."""
    values = stage_values(validated)
    finished = data.draw(st.lists(st.integers(1, len(validated)), min_size=1, unique=True))
    standing = standing_stage(finished, validated)
    assert values[standing - 1] == max(values[stage - 1] for stage in finished)
    known = [score for score in validated if score is not None]
    if known and validated[standing - 1] is None:
        assert values[standing - 1] < min(known)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=8))
def test_of_stages_without_scores_the_later_is_worth_more_whatever_they_cost(counted):
    values = stage_values([None] * len(counted), counted)
    assert all(low < high for low, high in pairwise(values))


def test_gains_count_over_the_best_that_is_finished():
    path = [(0.6, certain(1)), (0.4, certain(2)), (0.7, certain(3)), (0.9, certain(10))]
    assert expected_accuracy(path, 5, floor=0.1) == pytest.approx(0.7)
    assert expected_accuracy(path, 2, floor=0.65) == pytest.approx(0.65)
    assert expected_accuracy(path, 0.5, floor=0.1) == pytest.approx(0.1)


def test_the_sum_by_hand():
    coin = (0.0, 4.0, 9.0, 9.0, 9.0)  # by 4 ms with probability 0.5
    path = [(0.5, certain(1)), (0.9, coin)]
    assert expected_accuracy(path, 4.0, floor=0.1) == pytest.approx(0.1 + 0.4 + 0.4 * 0.5)


def test_a_budget_that_may_be_cut_prefers_what_is_finished_early():
    assert survival(certain(2), 10, cut=0.5) == pytest.approx(0.5 + 0.5 * 0.8)
    assert survival(certain(0), 10, cut=1) == 1
    assert survival(certain(2), math.inf, cut=1) == 1
    assert survival(certain(0), 0, cut=1) == 0


@pytest.mark.parametrize(
    ("validated", "counted"), [((), None), ((None, None), (1,)), ((math.inf,), None), ((None,), (-1,))]
)
def test_values_that_say_nothing_are_refused(validated, counted):
    with pytest.raises(ValueError, match=r"validated|counts|counted"):
        stage_values(validated, counted)
