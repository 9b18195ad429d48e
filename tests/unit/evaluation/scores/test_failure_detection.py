"""The AUROC of wrong answers: exact, with ties, and None where there is nothing to tell apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.evaluation import failure_auroc

cases = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40)


@given(cases)
def test_it_is_the_share_of_pairs_in_which_the_right_answer_is_the_surer(case):
    confidence, right = (np.array(column) for column in zip(*case, strict=True))
    pairs = [(a > b) + (a == b) / 2 for a in confidence[right] for b in confidence[~right]]
    found = failure_auroc(confidence, right)
    assert found == (pytest.approx(np.mean(pairs)) if pairs else None)
    if pairs:
        assert failure_auroc(-confidence, right) == pytest.approx(1 - found)
        assert failure_auroc(np.exp(confidence), right) == found


def test_it_is_what_scikit_learn_computes():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    right = rng.random(2000) < 0.8
    for confidence in (rng.random(2000) + right, rng.integers(0, 9, 2000) + right):
        expected = metrics.roc_auc_score(~right, -confidence)
        assert failure_auroc(confidence, right) == pytest.approx(expected, abs=1e-12)


def test_bounds_and_what_is_refused():
    right = np.array([True, True, False])
    assert failure_auroc(np.array([3, 2, 1]), right) == 1
    assert failure_auroc(np.array([1, 2, 3]), right) == 0
    assert failure_auroc(np.ones(3), right) == 0.5
    assert failure_auroc(np.ones(3), np.ones(3, bool)) is None
    assert failure_auroc(np.ones(3), np.zeros(3, bool)) is None
    for confidence in (np.ones(2), np.ones((3, 1)), np.array([1, np.nan, 2])):
        with pytest.raises(ValueError, match="no NaN"):
            failure_auroc(confidence, right)
