"""Promises of the confidences: their formulas, their order, and numbers that stay exact."""

import numpy as np
import pytest

from anytimenet.core.answers.confidence import CONFIDENCES, confidence_in, confidence_of, confidences
from anytimenet.core.answers.probabilities import log_softmax

rng = np.random.default_rng(0)


def test_each_kind_is_its_formula_example_by_example():
    logits = rng.normal(size=(2, 40, 6)).astype(np.float32) * 3
    for k, stage in enumerate(logits):
        for i, z in enumerate(stage.astype(np.float64)):
            p = np.exp(z) / np.exp(z).sum()
            top = sorted(p)
            assert confidences(logits)[k, i] == pytest.approx(top[-1])
            assert confidences(logits, "margin")[k, i] == pytest.approx(top[-1] - top[-2])
            assert confidences(logits, "entropy")[k, i] == pytest.approx((p * np.log(p)).sum() / np.log(6))


@pytest.mark.parametrize("kind", CONFIDENCES)
def test_more_probability_on_one_class_is_more_confidence_however_sure_already(kind):
    logits = np.zeros((30, 5))
    logits[:, 2] = np.arange(30)
    assert (np.diff(confidences([logits], kind)[0]) > 0).all()
    least = {"max_probability": 0.2, "margin": 0, "entropy": -1}[kind]
    assert confidences([logits], kind)[0, 0] == pytest.approx(least)


def test_entropy_tells_examples_apart_whose_probabilities_round_to_one():
    logits = np.array([[[60.0, 0.0], [70.0, 0.0]]])
    assert (confidences(logits) == 1).all()
    assert confidences(logits, "entropy")[0, 0] < confidences(logits, "entropy")[0, 1] <= 0


@pytest.mark.parametrize("kind", CONFIDENCES)
def test_extreme_logits_one_class_and_many_blocks(kind):
    assert confidences(np.array([[[1e4, -1e4, 0.0]]], dtype=np.float32), kind)[0, 0] == (kind != "entropy")
    assert confidences(np.zeros((1, 2, 1)), kind)[0].tolist() == [kind != "entropy"] * 2
    logits = rng.normal(size=(9000, 1000)).astype(np.float32)  # more than two blocks of work
    together = confidences([logits], kind)[0]
    for row in (0, 4193, 4194, 8388, 8999):
        assert together[row] == confidences([logits[row : row + 1]], kind)[0, 0]
    assert together.dtype == np.float64


@pytest.mark.parametrize(
    ("logits", "kind", "message"),
    [
        ([np.zeros((2, 3))], "maxprob", "no confidence is named 'maxprob'"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], "margin", "of one shape"),
        ([np.zeros(3)], "margin", "of one shape"),
        ([], "margin", "of one shape"),
        ([np.full((2, 3), np.nan)], "margin", "not finite"),
    ],
)
def test_other_input_is_refused(logits, kind, message):
    with pytest.raises(ValueError, match=message):
        confidences(logits, kind)


@pytest.mark.parametrize("kind", CONFIDENCES)
def test_numbers_that_are_none_are_no_confidence(kind):
    assert np.isnan(confidence_in(np.full((1, 3), np.nan), kind)).all()


@pytest.mark.parametrize("kind", CONFIDENCES)
@pytest.mark.parametrize("classes", [1, 2, 10, 131, 1000])
def test_the_short_way_gives_the_same_bits_as_the_long_one(kind, classes):
    logits = np.random.default_rng(classes).normal(0, 5, (60, classes)).astype(np.float32)
    logits[0], logits[1, -2:], logits[2, 0], logits[3, 0] = 0, 90, 1e4, -np.inf if classes > 1 else 0
    for temperature in (1.0, 0.37, 2.5):
        scaled = logits.astype(np.float64) / temperature
        long = confidence_of(log_softmax(scaled), kind)
        assert confidence_in(logits, kind, temperature).tobytes() == long.tobytes()
        assert all(confidence_in(logits[[i]], kind, temperature)[0] == long[i] for i in range(60))
