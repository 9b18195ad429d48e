"""Promises of the budgeted batch: the thresholds of the MSDNet protocol, their pitfalls, and budgets."""

import json
from math import inf
from types import SimpleNamespace

import numpy as np
import pytest

from anytimenet.core.answers.exit_thresholds import (
    exit_shares,
    leaving_shares,
    leaving_stages,
    solve_for_budget,
    solve_thresholds,
)
from anytimenet.evaluation import (
    BudgetedBatch,
    curve_figure,
    exit_costs,
    sweep_budgeted_batch,
)
from anytimenet.evaluation.protocols.budgeted_batch import MSDNET_PS

COSTS = (10.0, 25.0, 45.0, 70.0)


def random_confidence(examples=1000, stages=4, seed=0):
    """Without ties."""
    return np.random.default_rng(seed).permutation(stages * examples).reshape(stages, examples) / 1e6


def test_shares_follow_powers_of_p_however_extreme():
    for p in (*MSDNET_PS, 3.7):
        powers = p ** np.arange(1, 6)
        np.testing.assert_allclose(exit_shares(p, 5), powers / powers.sum(), rtol=1e-12)
    assert exit_shares(1e-300, 4) == pytest.approx([1, 0, 0, 0])
    assert exit_shares(1e300, 4) == pytest.approx([0, 0, 0, 1])
    assert len(MSDNET_PS) == 39
    assert (MSDNET_PS[0], MSDNET_PS[-1]) == (1 / 20, 39 / 20)
    for p in (0, -1, inf, float("nan")):
        with pytest.raises(ValueError, match="finite p above 0"):
            exit_shares(p, 4)


def test_without_ties_exactly_the_floor_of_each_quota_leaves():
    confidence = random_confidence()
    for p in MSDNET_PS:
        shares = exit_shares(p, 4)
        found = leaving_shares(confidence, solve_thresholds(confidence, shares)) * 1000
        assert found[:-1].round(9).tolist() == np.floor(1000 * shares + 1e-9)[:-1].tolist()
        # So each is within one example of what was aimed at; the last stage takes what was rounded away.
        assert (np.abs(found[:-1] - 1000 * shares[:-1]) < 1).all()


def test_a_quota_that_is_whole_in_theory_is_not_lost_to_the_last_bit():
    confidence = random_confidence(examples=49, stages=49)
    assert (1 / 49) * 49 < 1
    assert leaving_shares(confidence, solve_thresholds(confidence, np.full(49, 1 / 49))) == pytest.approx(
        1 / 49
    )


def test_p_tiny_leaves_all_at_the_first_stage_and_p_huge_at_the_last():
    confidence = random_confidence()
    for p, stage in ((1e-15, 0), (1e15, 3)):
        shares = leaving_shares(confidence, solve_thresholds(confidence, exit_shares(p, 4)))
        assert shares[stage] == 1


def test_equal_confidences_leave_together_and_later_quotas_cannot_be_met():
    confidence = np.full((4, 100), 0.5)
    thresholds = solve_thresholds(confidence, exit_shares(1.0, 4))
    assert thresholds.tolist() == [0.5, inf, inf, -inf]
    assert leaving_stages(confidence, thresholds).tolist() == [1] * 100


def test_nobody_leaves_where_fewer_remain_than_the_quota_asks_for():
    # Six of ten tie at stage 1 although three are wanted; four remain, and stage 2 wants five.
    first = np.array([0.9] * 6 + [0.1, 0.2, 0.3, 0.4])
    confidence = np.stack([first, np.arange(10) / 10, np.zeros(10)])
    thresholds = solve_thresholds(confidence, np.array([0.3, 0.5, 0.2]))
    assert thresholds.tolist() == [0.9, inf, -inf]
    assert leaving_stages(confidence, thresholds).tolist() == [1] * 6 + [3] * 4
    # With as many as the quota all of them leave.
    assert solve_thresholds(confidence, np.array([0.3, 0.4, 0.3])).tolist() == [0.9, 0.6, -inf]


def test_a_quota_below_one_example_lets_nobody_leave():
    confidence = random_confidence(examples=10)
    assert solve_thresholds(confidence, np.array([0.09, 0.5, 0.01, 0.4]))[[0, 2]].tolist() == [inf, inf]


def test_an_example_leaves_at_the_first_stage_that_reaches_its_threshold_inclusive():
    confidence = np.array([[0.5, 0.4, 0.4, 0.0], [0.9, 0.9, 0.1, 0.9], [0.0, 0.0, 0.0, 0.0]])
    assert leaving_stages(confidence, np.array([0.5, 0.9, -inf])).tolist() == [1, 2, 3, 2]
    assert leaving_stages(confidence, np.array([inf, inf, -inf])).tolist() == [3, 3, 3, 3]


def test_accuracy_and_cost_are_those_of_the_stage_at_which_each_example_leaves():
    val, confidence = random_confidence(seed=1), random_confidence(examples=700, seed=2)
    right = np.random.default_rng(3).random(confidence.shape) < 0.6
    result = sweep_budgeted_batch(val, confidence, right, COSTS, ps=(0.3, 1.2))
    assert [point.p for point in result.points] == [0.3, 1.2]
    for point in result.points:
        leaving = leaving_stages(confidence, np.array(point.thresholds)) - 1
        assert point.accuracy == pytest.approx(np.mean([right[k, i] for i, k in enumerate(leaving)]))
        assert point.mean_cost == pytest.approx(np.mean([COSTS[k] for k in leaving]))
        assert point.shares == pytest.approx([np.mean(leaving == k) for k in range(4)])
        assert point.val_mean_cost == pytest.approx(np.dot(point.val_shares, COSTS))
    assert result.stage_accuracies == pytest.approx(right.mean(axis=1))
    assert (result.val_count, result.count) == (1000, 700)


def test_one_stage_answers_everything():
    point = sweep_budgeted_batch(
        np.zeros((1, 5)), np.zeros((1, 4)), np.array([[True, True, False, True]]), [3.0], ps=[1.0]
    ).points[0]
    assert (point.thresholds, point.mean_cost, point.accuracy) == ((-inf,), 3.0, 0.75)


@pytest.mark.parametrize("budget", [10, 10.02, 17.5, 30, 44, 69.9, 70, 1000])
def test_a_budget_is_met_from_below_as_closely_as_examples_allow(budget):
    confidence = random_confidence()
    p, thresholds = solve_for_budget(confidence, COSTS, budget)
    cost = leaving_shares(confidence, thresholds) @ COSTS
    assert cost <= budget
    np.testing.assert_array_equal(thresholds, solve_thresholds(confidence, exit_shares(p, 4)))
    # Rounding moves at most k examples past stage k: 15, 2 * 20 and 3 * 25 of the costs' steps.
    assert cost >= min(budget, COSTS[-1]) - (15 + 2 * 20 + 3 * 25) / 1000


def test_no_p_of_a_fine_grid_does_better_than_the_solved_one_even_with_ties():
    confidence = np.minimum(random_confidence() * 1e6 // 50, 60)  # a third of the numbers is one tie
    for budget in (15, 30, 50, 65):
        _, thresholds = solve_for_budget(confidence, COSTS, budget)
        found = leaving_shares(confidence, thresholds) @ COSTS
        grid = [
            leaving_shares(confidence, solve_thresholds(confidence, exit_shares(p, 4))) @ COSTS
            for p in np.geomspace(0.05, 20, 400)
        ]
        best = max(cost for cost in grid if cost <= budget)
        assert found <= budget
        assert found >= best - 0.6


def test_budgets_become_points_of_their_own_judged_on_other_examples():
    val, confidence = random_confidence(seed=1), random_confidence(seed=2)
    right = confidence > 0.001
    result = sweep_budgeted_batch(val, confidence, right, COSTS, ps=[1.0], budgets=[20, 40])
    assert [point.budget for point in result.for_budgets] == [20, 40]
    assert 20 - 0.2 < result.for_budgets[0].val_mean_cost <= 20
    assert result.for_budgets[1].mean_cost == pytest.approx(40, abs=2)
    assert result.points[0].budget is None


def test_curves_are_in_the_unit_of_the_cost_and_sorted():
    val, right = random_confidence(), np.ones((4, 1000), dtype=bool)
    result = sweep_budgeted_batch(val, val, right, COSTS, cost="msd")
    curve = result.curve("a net")
    assert (curve.unit, curve.label) == ("msd", "a net")
    assert set(curve.costs) == {point.mean_cost for point in result.points}
    assert result.anytime_curve().costs == COSTS
    assert sweep_budgeted_batch(val, val, right, COSTS).curve().unit == "macs"


def test_a_sweep_is_drawn_as_a_line_with_dots_smaller_than_the_marks_of_stages():
    val = random_confidence()
    result = sweep_budgeted_batch(val, val, val > 0.001, COSTS)
    anytime, sweep = curve_figure([result.anytime_curve(), result.curve()]).axes[0].get_lines()
    assert len(sweep.get_xdata()) == 39
    assert sweep.get_markersize() < anytime.get_markersize()


def test_costs_of_an_exit_are_chosen_by_name():
    stages = [SimpleNamespace(macs=k, full=2 * k, msd=3 * k, macs_cumulative=4 * k) for k in (1, 2)]
    assert exit_costs(stages) == [4, 8]
    assert [exit_costs(stages, name) for name in ("macs", "full", "msd")] == [[1, 2], [2, 4], [3, 6]]
    with pytest.raises(ValueError, match="no cost of an exit is named 'mac'"):
        exit_costs(stages, "mac")


def test_json_is_strict_and_comes_back_as_it_was():
    val = random_confidence(examples=50)
    result = sweep_budgeted_batch(val, val, val > 0.0001, COSTS, budgets=[30], kind="margin", cost="macs")
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert BudgetedBatch.from_dict(values) == result
    assert list(values) == [
        "confidence", "cost", "stage_costs", "stage_accuracies", "val_count", "count", "points",
        "for_budgets",
    ]  # fmt: skip
    assert list(values["points"][0]) == [
        "p", "budget", "thresholds", "shares", "mean_cost", "accuracy", "val_shares", "val_mean_cost",
    ]  # fmt: skip
    # p = 1/20 asks for less than one example at stages 3 and 4 of 50.
    assert values["points"][0]["thresholds"][2] is None
    assert len(values["points"][0]["thresholds"]) == 3
    with pytest.raises(ValueError, match="not a description of a budgeted batch"):
        BudgetedBatch.from_dict({"points": []})


def test_table_shows_some_of_the_sweep_or_the_budgets():
    val = random_confidence()
    sweep = sweep_budgeted_batch(val, val, val > 0.001, COSTS)
    lines = sweep.table(rows=5).splitlines()
    assert len(lines) == 6
    assert lines[0].split()[-7:] == ["%", "at", "3", "%", "at", "4", "%"]
    assert (lines[1].split()[0], lines[-1].split()[0]) == ("0.05", "1.95")
    asked = sweep_budgeted_batch(val, val, val > 0.001, COSTS, budgets=[30]).table().splitlines()
    assert len(asked) == 2
    assert asked[1].split()[0] == "30"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val_confidence": np.zeros((3, 5))}, "as many stages"),
        ({"right": np.zeros((4, 6), bool)}, "as many stages"),
        ({"confidence": np.full((4, 5), np.nan)}, "finite confidences"),
        ({"confidence": np.zeros((4, 0)), "right": np.zeros((4, 0), bool)}, "at least one of each"),
        ({"stage_costs": [1, 2, 3]}, "not 4 positive numbers"),
        ({"stage_costs": [0, 1, 2, 3]}, "not 4 positive numbers"),
        ({"ps": []}, "at least one p"),
        ({"budgets": [9]}, "stage 1 alone costs 10"),
        ({"budgets": [float("nan")]}, "pays for no prediction"),
        ({"budgets": [50], "stage_costs": [10, 30, 20, 40]}, "do not increase"),
    ],
)
def test_input_that_does_not_fit_is_refused(change, message):
    given = {
        "val_confidence": np.zeros((4, 5)),
        "confidence": np.zeros((4, 5)),
        "right": np.zeros((4, 5), bool),
        "stage_costs": COSTS,
        **change,
    }
    with pytest.raises(ValueError, match=message):
        sweep_budgeted_batch(**given)


def test_shares_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ValueError, match="summing to 1"):
        solve_thresholds(np.zeros((2, 5)), np.array([0.5, 0.6]))
