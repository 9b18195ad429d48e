"""What Product Anytime guarantees, and what the other ensembles are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from anytimenet.core.answers.probabilities import softmax
from anytimenet.evaluation import geometric_ensemble, mean_ensemble, product_ensemble
from anytimenet.evaluation.scores.ensembles import ENSEMBLES, ensemble_rule
from anytimenet.evaluation.scores.outcomes import Outcomes

logits_of_nets = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 5)),
    # A few values, so that zeros, ties and empty supports occur, and others between them.
    elements=st.one_of(st.integers(-2, 3).map(float), st.floats(-20, 20)),
)
NEGLIGIBLE = 1e-300


def literal(logits: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The formula, example by example; a power of 0 is 1."""
    found = np.empty_like(logits)
    for i in range(logits.shape[1]):
        product = np.ones(logits.shape[2])
        for k, z in enumerate(logits[:, i]):
            product = product * np.maximum(z, 0) ** weights[k]
            total = product.sum()
            found[k, i] = product / total if total > NEGLIGIBLE else softmax(z)
    return found


@given(logits_of_nets, st.sampled_from([None, "late", "first off"]))
def test_it_is_the_formula(logits, choice):
    # Products of small floats underflow in the literal form only: keep away from them.
    logits = np.where(np.abs(logits) < 1e-3, 0.0, logits)
    stages = len(logits)
    weights = {
        None: np.ones(stages),
        "late": np.arange(1, stages + 1) / stages,
        "first off": np.array([0.0] + [1.0] * (stages - 1)),
    }[choice]
    ours = product_ensemble(logits, None if choice is None else weights)
    np.testing.assert_allclose(ours, literal(logits, weights), atol=1e-9)


@given(logits_of_nets)
def test_a_class_once_ruled_out_never_returns_while_any_class_is_left(logits):
    probabilities = product_ensemble(logits)
    left = np.logical_and.accumulate(logits > 0, axis=0)
    for k in range(len(logits)):
        some = left[k].any(axis=-1)
        assert (probabilities[k][some][~left[k][some]] == 0).all()
        if k:
            assert (left[k] <= left[k - 1]).all()


@given(logits_of_nets)
def test_seen_from_the_probabilities_alone_the_support_only_shrinks(logits):
    logits = np.where(np.abs(logits) < 1e-3, 0.0, logits)  # so that no probability underflows
    support = product_ensemble(logits) > 0
    some = np.logical_and.accumulate(logits > 0, axis=0).any(axis=-1)
    for k in range(1, len(logits)):
        assert (support[k][some[k]] <= support[k - 1][some[k]]).all()


@given(logits_of_nets)
def test_the_only_class_left_has_all_the_probability_at_least_what_it_ever_had(logits):
    probabilities = product_ensemble(logits)
    left = np.logical_and.accumulate(logits > 0, axis=0)
    for k in range(len(logits)):
        alone = left[k].sum(axis=-1) == 1
        assert (probabilities[k][alone][left[k][alone]] == 1).all()


@given(logits_of_nets)
def test_without_a_common_positive_class_the_stages_own_softmax_answers(logits):
    probabilities = product_ensemble(logits)
    empty = ~np.logical_and.accumulate(logits > 0, axis=0).any(axis=-1)
    np.testing.assert_allclose(probabilities[empty], softmax(logits[empty]))
    assert (np.diff(empty.astype(int), axis=0) >= 0).all()


def test_the_probability_of_a_remaining_class_may_still_fall_as_the_text_says():
    logits = np.array([[[2.0, 1.0]], [[1.0, 9.0]]])
    assert product_ensemble(logits)[:, 0, 0] == pytest.approx([2 / 3, 2 / 11])


@given(logits_of_nets, st.sampled_from(ENSEMBLES))
def test_every_ensemble_gives_probabilities_and_starts_as_one_stage(logits, name):
    probabilities = ensemble_rule(name)(logits)
    assert probabilities.shape == logits.shape
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1)
    assert (probabilities >= 0).all()
    if name != "product":
        np.testing.assert_allclose(probabilities[0], softmax(logits[0]))


@given(logits_of_nets)
def test_means_over_the_stages_so_far(logits):
    single = softmax(logits)
    for k in range(len(logits)):
        np.testing.assert_allclose(mean_ensemble(logits)[k], single[: k + 1].mean(axis=0))
        geometric = np.exp(np.log(single[: k + 1]).mean(axis=0))
        np.testing.assert_allclose(
            geometric_ensemble(logits)[k], geometric / geometric.sum(axis=-1, keepdims=True), atol=1e-12
        )


def test_large_logits_neither_overflow_nor_vanish():
    logits = np.full((40, 1, 2), 1e30)
    logits[:, :, 1] = 5e29
    assert np.isfinite(product_ensemble(logits)).all()
    assert product_ensemble(logits)[0, 0] == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, np.inf], [[1.0, 1.0]]])
def test_other_weights_are_refused(weights):
    with pytest.raises(ValueError, match="one number a stage"):
        product_ensemble(np.ones((2, 1, 3)), weights)


def test_an_unknown_ensemble_is_refused():
    with pytest.raises(ValueError, match="no ensemble is named 'median'"):
        ensemble_rule("median")


def test_classes_that_are_ruled_out_are_ranked_by_the_stages_own_logits():
    logits = np.full((1, 1, 10), -1.0)
    logits[..., 9], logits[..., 8] = 5.0, -0.1
    outcomes = Outcomes.of([logits[0]], np.array([8]), combine=product_ensemble)
    assert outcomes.rank.tolist() == [[1]]
