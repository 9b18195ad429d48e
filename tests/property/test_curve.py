"""Properties of anytime curves, for any curve."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from anytimenet.evaluation import Curve, relative_saving
from anytimenet.evaluation.plots.ticks import even_ticks, log_ticks, score_limits

fractions = st.floats(0, 1)


@st.composite
def curves(draw):
    steps = draw(st.lists(st.floats(0.01, 100), min_size=1, max_size=8))
    costs = np.cumsum(steps)
    return Curve(tuple(costs), tuple(draw(st.lists(fractions, min_size=len(steps), max_size=len(steps)))))


@st.composite
def ranges(draw):
    low = draw(st.floats(0.01, 500))
    return low, low * draw(st.floats(1.01, 100))


@given(curves(), ranges(), st.booleans())
def test_area_is_that_of_the_step_function_summed_piece_by_piece(curve, bounds, log):
    low, high = bounds
    size = (lambda a, b: np.log(b / a)) if log else (lambda a, b: b - a)
    borders = [low, *(c for c in curve.costs if low < c < high), high]
    pieces = [(curve.accuracy_at((a + b) / 2), size(a, b)) for a, b in pairwise(borders)]
    expected = sum(a * w for a, w in pieces) / sum(w for _, w in pieces)
    assert curve.area(low, high, log=log) == pytest.approx(expected, abs=1e-9)


@given(curves(), ranges(), st.booleans())
def test_area_lies_between_the_accuracies_it_averages(curve, bounds, log):
    low, high = bounds[0] + curve.costs[0], bounds[1] + curve.costs[0]
    area = curve.area(low, high, log=log)
    assert min(curve.accuracies) - 1e-9 <= area <= max(curve.accuracies) + 1e-9


@given(curves(), ranges(), st.floats(0.01, 1e6), st.booleans())
def test_area_does_not_depend_on_the_unit_of_cost(curve, bounds, scale, log):
    scaled = Curve(tuple(scale * c for c in curve.costs), curve.accuracies)
    assert scaled.area(scale * bounds[0], scale * bounds[1], log=log) == pytest.approx(
        curve.area(*bounds, log=log), abs=1e-6
    )


@given(curves(), ranges(), st.floats(0.1, 0.9))
def test_area_is_additive(curve, bounds, where):
    low, high = bounds
    middle = low + where * (high - low)
    parts = curve.area(low, middle) * (middle - low) + curve.area(middle, high) * (high - middle)
    assert curve.area(low, high) * (high - low) == pytest.approx(parts, abs=1e-6)


@examples(25)
@given(curves(), st.integers(0, 2**32 - 1))
def test_expected_accuracy_is_what_random_budgets_get(curve, seed):
    low, high = curve.default_range
    budgets = np.random.default_rng(seed).uniform(low, high, 2000)
    mean = np.mean([curve.accuracy_at(b) for b in budgets])
    # Six standard errors of a mean of values in 0..1.
    assert curve.expected_accuracy(low, high) == pytest.approx(mean, abs=6 * 0.5 / np.sqrt(2000))


@given(curves())
def test_envelope_is_the_smallest_monotone_curve_above(curve):
    envelope = curve.envelope()
    assert envelope.violations == ()
    assert envelope.envelope() == envelope
    assert all(high >= low for high, low in zip(envelope.accuracies, curve.accuracies, strict=True))
    assert set(envelope.accuracies) <= set(curve.accuracies)
    assert (envelope == curve) == (curve.violations == ())


@given(curves(), fractions)
def test_budget_for_is_the_smallest_that_suffices(curve, accuracy):
    budget = curve.budget_for(accuracy)
    if budget is None:
        assert max(curve.accuracies) < accuracy
    else:
        assert curve.accuracy_at(budget) >= accuracy
        assert all(curve.accuracy_at(c) < accuracy for c in curve.costs if c < budget)


@given(curves(), fractions)
def test_interpolated_budget_is_no_larger_and_lies_on_the_polyline(curve, accuracy):
    budget, step = curve.budget_for(accuracy, interpolate=True), curve.budget_for(accuracy)
    assert (budget is None) == (step is None)
    if budget is not None:
        assert curve.costs[0] <= budget <= step * (1 + 1e-12)
        drawn = np.interp(budget, curve.costs, curve.accuracies)
        assert drawn >= accuracy or drawn == pytest.approx(accuracy, abs=1e-6)


@given(curves(), st.booleans())
def test_a_curve_saves_nothing_against_itself(curve, interpolate):
    saving = relative_saving(curve, curve, interpolate=interpolate)
    assert [point.saving for point in saving.points] == [0.0] * len(saving.points)
    assert saving.maximum == saving.mean == 0.0


@given(curves(), st.floats(0.1, 10), st.booleans())
def test_a_curve_that_costs_a_share_saves_the_rest(curve, scale, interpolate):
    scaled = Curve(tuple(scale * c for c in curve.costs), curve.accuracies)
    saving = relative_saving(scaled, curve, interpolate=interpolate)
    assert saving.maximum == pytest.approx(1 - scale, abs=1e-9)
    assert saving.mean == pytest.approx(1 - scale, abs=1e-9)


@given(st.floats(0.01, 1e6), st.floats(1.05, 1e9))
def test_log_ticks_are_few_increasing_and_inside(low, ratio):
    ticks = log_ticks(low, low * ratio)
    assert 2 <= len(ticks) <= 6
    assert ticks == sorted(set(ticks))
    assert low * (1 - 1e-5) <= ticks[0] <= ticks[-1] <= low * ratio * (1 + 1e-5)


@given(st.floats(0, 1e4), st.floats(1e-3, 1e6))
def test_even_ticks_are_few_and_evenly_spaced(spans_from_zero, span):
    low = spans_from_zero * span
    ticks = even_ticks(low, low + span)
    assert 2 <= len(ticks) <= 6
    gaps = np.diff(ticks)
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-3)


@given(st.floats(0, 100), st.floats(0, 100))
def test_percent_axis_holds_the_data_and_ticks_stay_percentages(one, two):
    low, high = sorted((one, two))
    bottom, top, ticks = score_limits(low, high)
    assert bottom < low <= high < top
    assert all(0 <= tick <= 100 for tick in ticks)
    assert len(ticks) >= 2
