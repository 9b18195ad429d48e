"""Promises of the anytime curve and of the saving between two: closed forms."""

from math import log

import pytest

from anytimenet.evaluation import Curve, relative_saving, shared_range

CURVE = Curve((10, 20, 40), (0.5, 0.8, 0.9))
DIPS = Curve((10, 20, 30, 40), (0.5, 0.7, 0.6, 0.8))


def test_the_last_finished_stage_answers():
    assert [CURVE.accuracy_at(b) for b in (0, 9.99, 10, 19.99, 20, 39, 40, 1e9)] == [
        0, 0, 0.5, 0.5, 0.8, 0.8, 0.9, 0.9,
    ]  # fmt: skip
    assert DIPS.accuracy_at(35) == 0.6


def test_the_envelope_is_the_best_so_far():
    assert DIPS.envelope() == Curve((10, 20, 30, 40), (0.5, 0.7, 0.7, 0.8))


def test_chosen_by_takes_the_stage_of_best_validated_accuracy():
    # By validation stage 2 is worse than 1 and stage 4 ties with 3: stages 1, 1, 3, 3 answer.
    assert DIPS.chosen_by((0.6, 0.5, 0.7, 0.7)).accuracies == (0.5, 0.5, 0.6, 0.6)
    assert DIPS.chosen_by(DIPS.accuracies) == DIPS.envelope()
    with pytest.raises(ValueError, match="3 validated accuracies for 4 stages"):
        DIPS.chosen_by((0.1, 0.2, 0.3))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (10, 40, (10 * 0.5 + 20 * 0.8) / 30),
        (10, 50, (10 * 0.5 + 20 * 0.8 + 10 * 0.9) / 40),
        (0, 20, 10 * 0.5 / 20),
        (15, 17, 0.5),
        (0, 5, 0.0),
        (100, 200, 0.9),
        (5, 25, (10 * 0.5 + 5 * 0.8) / 20),
    ],
)
def test_area_is_the_exact_integral_over_the_range(low, high, expected):
    assert CURVE.area(low, high) == pytest.approx(expected, abs=1e-15)
    assert CURVE.expected_accuracy(low, high) == CURVE.area(low, high)


def test_log_area_weighs_equal_ratios():
    expected = (log(2) * 0.5 + log(2) * 0.8 + log(2) * 0.9) / (3 * log(2))
    assert CURVE.area(10, 80, log=True) == pytest.approx(expected)
    assert CURVE.area(5, 10, log=True) == 0.0
    assert CURVE.area(5, 20, log=True) == pytest.approx(0.25)


def test_default_range_weighs_even_stages_evenly():
    even = Curve((10, 20, 30, 40), (0.1, 0.4, 0.5, 0.8))
    assert even.default_range == (10, 50)
    assert even.area(*even.default_range) == pytest.approx((0.1 + 0.4 + 0.5 + 0.8) / 4)
    assert Curve((7,), (0.5,)).default_range == (7, 14)


@pytest.mark.parametrize(
    ("low", "high"), [(20, 10), (10, 10), (-1, 10), (0, float("inf")), (float("nan"), 1)]
)
def test_area_refuses_what_is_no_range(low, high):
    with pytest.raises(ValueError, match="budget range"):
        CURVE.area(low, high)


def test_log_area_refuses_zero():
    with pytest.raises(ValueError, match="no logarithm"):
        CURVE.area(0, 10, log=True)


def test_shared_range_covers_both_and_needs_one_unit():
    assert shared_range([CURVE, Curve((5, 50), (0.1, 0.2))]) == (5, 95)
    with pytest.raises(ValueError, match="macs and ms"):
        shared_range([CURVE, Curve((1,), (0.5,), unit="ms")])
    with pytest.raises(ValueError, match="none"):
        shared_range([])


def test_budget_for_an_accuracy():
    assert [CURVE.budget_for(a) for a in (0.0, 0.5, 0.51, 0.8, 0.9, 0.91)] == [10, 10, 20, 20, 40, None]
    assert CURVE.budget_for(0.65, interpolate=True) == pytest.approx(15)
    assert CURVE.budget_for(0.825, interpolate=True) == pytest.approx(25)
    assert CURVE.budget_for(0.3, interpolate=True) == 10
    assert CURVE.budget_for(0.91, interpolate=True) is None


def test_budget_for_takes_the_first_crossing_of_a_curve_that_dips():
    assert DIPS.budget_for(0.65, interpolate=True) == pytest.approx(17.5)
    assert DIPS.budget_for(0.75, interpolate=True) == pytest.approx(37.5)


def test_violations_name_points_below_an_earlier_one():
    assert CURVE.violations == ()
    assert DIPS.violations == (3,)
    assert Curve((1, 2, 3, 4), (0.9, 0.5, 0.8, 0.9)).violations == (2, 3)


def test_from_points_sorts_and_keeps_the_later_of_equal_costs():
    assert Curve.from_points((3, 1, 2, 1), (0.3, 0.1, 0.2, 0.4)) == Curve((1, 2, 3), (0.4, 0.2, 0.3))


@pytest.mark.parametrize(
    ("costs", "accuracies", "message"),
    [
        ((), (), "at least one stage"),
        ((1, 2), (0.5,), "2 costs and 1 accuracies"),
        ((2, 1), (0.5, 0.6), "increasing"),
        ((1, 1), (0.5, 0.6), "increasing"),
        ((0, 1), (0.5, 0.6), "positive"),
        ((1, float("inf")), (0.5, 0.6), "costs must be a finite number"),
        ((1, float("nan")), (0.5, 0.6), "costs must be a finite number"),
        ((1, 2), (0.5, 60), "accuracies must be a fraction"),
        ((1, 2), (0.5, float("nan")), "accuracies must be a fraction"),
    ],
)
def test_a_malformed_curve_is_refused(costs, accuracies, message):
    with pytest.raises(ValueError, match=message):
        Curve(costs, accuracies)


# --- saving ---------------------------------------------------------------------------------------


def test_saving_at_equal_accuracy_closed_form():
    reference = Curve((10, 20, 40), (0.5, 0.7, 0.9))
    ours = Curve((8, 12, 30), (0.6, 0.75, 0.95))
    saving = relative_saving(ours, reference)
    assert [point.cost for point in saving.points] == [8, 12, 30]
    assert [point.saving for point in saving.points] == pytest.approx([0.2, 0.4, 0.25])
    assert (saving.maximum, saving.mean) == pytest.approx((0.4, 0.85 / 3))
    assert saving.unreached == 0


def test_saving_between_the_points_as_papers_read_figures():
    reference = Curve((10, 20, 40), (0.5, 0.7, 0.9))
    ours = Curve((8, 12, 30), (0.6, 0.75, 0.95))
    saving = relative_saving(ours, reference, interpolate=True)
    # 0.5: stage 1 at 8. 0.7: two thirds of the way from 8 to 12. 0.9: three quarters from 12 to 30.
    assert [point.cost for point in saving.points] == pytest.approx([8, 8 + 4 * 2 / 3, 12 + 18 * 0.75])


def test_saving_skips_what_is_never_reached_and_says_so():
    saving = relative_saving(Curve((5,), (0.6,)), Curve((10, 20), (0.5, 0.7)))
    assert (saving.maximum, saving.mean, saving.unreached) == (0.5, 0.5, 1)
    assert saving.points[1].saving is None
    nothing = relative_saving(Curve((5,), (0.1,)), Curve((10,), (0.5,)))
    assert (nothing.maximum, nothing.mean, nothing.unreached) == (None, None, 1)


def test_saving_is_negative_where_ours_is_dearer():
    assert relative_saving(Curve((30,), (0.6,)), Curve((10,), (0.5,))).maximum == pytest.approx(-2)


def test_saving_asks_only_for_accuracies_that_a_stage_of_the_reference_is_first_to_reach():
    assert [point.reference_cost for point in relative_saving(CURVE, DIPS).points] == [10, 20, 40]


def test_saving_refuses_two_units():
    with pytest.raises(ValueError, match="macs and in ms"):
        relative_saving(CURVE, Curve((1,), (0.5,), unit="ms"))
