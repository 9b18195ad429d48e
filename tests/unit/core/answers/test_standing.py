"""One rule for which stage answers; the rules that stood in three places give the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.core.answers.standing import best_stage, standing_stage
from anytimenet.evaluation import Curve, path_curve

NETS = st.integers(1, 6).flatmap(
    lambda stages: st.tuples(
        st.lists(st.integers(1, 9), min_size=stages, max_size=stages),
        st.lists(
            st.one_of(st.none(), st.sampled_from((0.0, 0.25, 0.5, 1.0))), min_size=stages, max_size=stages
        ),
    )
)


@given(NETS, st.integers(0, 10))
def test_before_a_run_the_answer_is_that_of_the_rule_word_for_word(net, budget):
    costs, validated = net
    stages = range(1, len(costs) + 1)
    fitting = [k for k in stages if costs[k - 1] <= budget]
    scores = {k: validated[k - 1] for k in fitting if validated[k - 1] is not None}
    stage, over = best_stage(costs, validated, budget)
    assert over == (not fitting)
    if over:
        assert (costs[stage - 1], stage) == min((costs[k - 1], k) for k in stages)
    elif not scores:
        assert stage == max(fitting)
    else:
        best = [k for k in scores if scores[k] == max(scores.values())]
        assert (costs[stage - 1], stage) == min((costs[k - 1], k) for k in best)


@given(NETS)
def test_during_a_run_an_answer_stands_until_a_better_one_is_there(net):
    _, validated = net
    answer = None
    for stage in range(1, len(validated) + 1):
        old, new = None if answer is None else validated[answer - 1], validated[stage - 1]
        if old is None or (new is not None and new > old):
            answer = stage
        assert standing_stage(range(1, stage + 1), validated) == answer


@given(NETS)
def test_runs_curves_and_bundles_choose_alike(net):
    steps, validated = net
    stages = len(steps)
    spent = [sum(steps[: k + 1]) for k in range(stages)]
    accuracies = [k / 10 for k in range(stages)]
    run = path_curve([(k, k + 1) for k in range(stages)], steps, accuracies, validated)
    assert [point.answer for point in run.points] == [
        best_stage(spent, validated, budget)[0] for budget in spent
    ]
    if None not in validated:
        assert Curve(tuple(spent), tuple(accuracies)).chosen_by(validated).accuracies == tuple(
            accuracies[point.answer - 1] for point in run.points
        )


def test_the_cheapest_answers_where_none_fits_even_if_it_is_not_the_first():
    assert best_stage((20, 10), (0.9, 0.5), 5) == (2, True)


@pytest.mark.parametrize(("costs", "validated"), [((), None), ((1, 2), (0.5,)), ((1,), (0.5, 0.6))])
def test_one_number_a_stage_is_needed(costs, validated):
    with pytest.raises(ValueError, match="one of each a stage"):
        best_stage(costs, validated)


def test_a_score_that_is_no_number_says_nothing():
    assert best_stage((10, 20), (float("nan"), 0.9)) == (2, False)
    assert standing_stage((1, 2), (float("nan"), float("nan"))) == 2


@pytest.mark.parametrize("finished", [(0, 1), (1, 3)])
def test_a_stage_that_does_not_exist_is_refused(finished):
    with pytest.raises(ValueError, match="stages are counted from 1"):
        standing_stage(finished, (0.1, 0.9))
