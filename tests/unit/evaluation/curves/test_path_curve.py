"""The accounting of a run: everything spent counts, and the best validated finished stage answers."""

from __future__ import annotations

import pytest

from anytimenet.evaluation import Curve, PathCurve, PathPoint, path_curve

STEPS = [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_unfinished_and_useless_work_is_spent() -> None:
    # Two nets: the second starts again, and its first exit is worse than the first net's last.
    run = path_curve(STEPS, (10, 5, 20, 15), (0.5, 0.7, 0.6, 0.8), (0.51, 0.69, 0.62, 0.78))
    assert run.points == (
        PathPoint(1, 10, 1, 0.5),
        PathPoint(2, 15, 2, 0.7),
        PathPoint(3, 35, 2, 0.7),
        PathPoint(4, 50, 4, 0.8),
    )
    answers = [run.answer_at(budget) for budget in (0, 9.9, 10, 14.9, 15, 34.9, 35, 49.9, 50, 1e9)]
    assert answers == [None, None, 1, 1, 2, 2, 2, 2, 4, 4]
    assert [run.accuracy_at(budget) for budget in (9.9, 40)] == [0.0, 0.7]


def test_the_choice_is_made_by_validation_and_judged_on_other_data() -> None:
    run = path_curve(STEPS[:2], (1, 1), (0.9, 0.4), (0.5, 0.6))
    assert [point.accuracy for point in run.points] == [0.9, 0.4]


def test_of_equally_good_stages_the_one_finished_first_stays() -> None:
    run = path_curve(STEPS, (1,) * 4, (0.1, 0.2, 0.3, 0.4), (0.5, 0.5, 0.6, 0.6))
    assert [point.answer for point in run.points] == [1, 1, 3, 3]


def test_without_validation_the_last_finished_stage_answers() -> None:
    for validated in (None, [None] * 4):
        run = path_curve(STEPS, (1,) * 4, (0.9, 0.2, 0.3, 0.4), validated)
        assert [point.answer for point in run.points] == [1, 2, 3, 4]


def test_a_validated_stage_is_preferred_to_one_that_is_not() -> None:
    run = path_curve(STEPS, (1,) * 4, (0.1, 0.2, 0.3, 0.4), (None, None, 0.1, None))
    assert [point.answer for point in run.points] == [1, 2, 3, 3]


def test_a_jump_finishes_no_stage_on_its_way() -> None:
    run = path_curve([(0, 2), (2, 4)], (12, 9), (0.9, 0.5, 0.9, 0.7), (0.99, 0.5, 0.99, 0.6))
    assert [(p.stage, p.answer, p.spent) for p in run.points] == [(2, 2, 12), (4, 4, 21)]


def test_the_curve_and_its_corners_say_the_same() -> None:
    run = path_curve(STEPS[:3], (10, 5, 20), (0.5, 0.7, 0.6), unit="full")
    assert run.curve("mine") == Curve((10, 15, 35), (0.5, 0.7, 0.6), "mine", "full")
    assert run.steps() == ((10, 15, 15, 35, 35), (0.5, 0.5, 0.7, 0.7, 0.6))
    for budget in (5, 10, 12, 15, 30, 35, 99):
        assert run.accuracy_at(budget) == run.curve().accuracy_at(budget)
    assert isinstance(run, PathCurve)


@pytest.mark.parametrize(
    ("path", "costs", "validated", "message"),
    [
        ([], (), None, "0 segments and 0 costs"),
        ([(0, 1)], (1, 2), None, "1 segments and 2 costs"),
        ([(1, 2)], (1,), None, r"segment \(1, 2\) cannot follow stage 0"),
        ([(0, 1), (2, 3)], (1, 1), None, r"segment \(2, 3\) cannot follow stage 1"),
        ([(0, 2), (2, 2)], (1, 1), None, r"segment \(2, 2\)"),
        ([(0, 5)], (1,), None, "from 1 to 4"),
        ([(0, 1)], (0,), None, "positive numbers are needed"),
        ([(0, 1)], (float("nan"),), None, "positive numbers are needed"),
        ([(0, 1)], ("1",), None, "positive numbers are needed"),
        ([(0, 1)], (1,), (0.5,), "1 validated accuracies for 4 stages"),
        (
            [(0, 1)],
            (1,),
            (0.5, None, float("nan"), 0.5),
            "the validated accuracies hold nan: numbers from 0 to",
        ),
        ([(0, 1)], (1,), (0.5, None, 81.2, 0.5), "the validated accuracies hold 81.2"),
        ([(0, 1)], (1,), (0.5, None, "0.5", 0.5), "the validated accuracies hold '0.5'"),
    ],
)
def test_what_is_no_run_is_refused(path, costs, validated, message) -> None:
    with pytest.raises(ValueError, match=message):
        path_curve(path, costs, (0.1, 0.2, 0.3, 0.4), validated)


@pytest.mark.parametrize("wrong", [float("nan"), -0.1, 1.1, None])
def test_accuracies_are_shares(wrong) -> None:
    with pytest.raises(ValueError, match=f"the accuracies hold {wrong}: numbers from 0 to 1 are needed"):
        path_curve(STEPS[:1], (1,), (0.5, wrong))


@pytest.mark.parametrize("budget", [float("nan"), None, "10"])
def test_a_budget_is_a_number(budget) -> None:
    run = path_curve(STEPS[:1], (10,), (0.5,))
    for ask in (run.answer_at, run.accuracy_at):
        with pytest.raises(ValueError, match=f"budget {budget!r}: a number is needed"):
            ask(budget)
    assert (run.answer_at(float("inf")), run.answer_at(-1)) == (1, None)
