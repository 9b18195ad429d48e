"""Promises of the scores of one stage: closed forms, brute force, and an independent library."""

import numpy as np
import pytest

from anytimenet.core.answers.probabilities import softmax
from anytimenet.core.errors import DataError
from anytimenet.evaluation.scores.metrics import (
    class_scores,
    expected_calibration_error,
    label_ranks,
    negative_log_likelihood,
    top_k_accuracy,
    wilson_interval,
)


def random_logits(rows=200, classes=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, classes)) * 3, rng.integers(0, classes, rows)


def test_rank_is_the_place_in_a_stable_sort_of_the_logits():
    rng = np.random.default_rng(1)
    logits = rng.integers(0, 3, size=(300, 6)).astype(np.float32)  # many ties
    labels = rng.integers(0, 6, 300)
    order = np.argsort(-logits, axis=1, kind="stable")
    places = [list(row).index(label) for row, label in zip(order, labels, strict=True)]
    assert label_ranks(logits, labels).tolist() == places


def test_rank_zero_is_argmax_also_with_ties():
    logits, labels = np.zeros((5, 5)), np.arange(5)
    assert (label_ranks(logits, labels) == 0).tolist() == (logits.argmax(1) == labels).tolist()
    assert top_k_accuracy(logits, labels, k=1) == 0.2
    assert top_k_accuracy(logits, labels, k=3) == 0.6


def test_top_k_accuracy_equals_an_independent_one():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    logits, labels = random_logits(classes=9)
    for k in (1, 2, 5):
        theirs = functional.multiclass_accuracy(
            torch.from_numpy(logits), torch.from_numpy(labels), num_classes=9, top_k=k, average="micro"
        )
        assert top_k_accuracy(logits, labels, k) == pytest.approx(float(theirs), abs=1e-6)


def test_top_k_of_few_classes_is_one():
    logits, labels = random_logits(classes=3)
    assert top_k_accuracy(logits, labels, k=5) == 1.0


@pytest.mark.parametrize("k", [0, -1])
def test_top_k_refuses_k_below_one(k):
    with pytest.raises(ValueError, match="k is 1 or more"):
        top_k_accuracy(*random_logits(), k=k)


@pytest.mark.parametrize(("right", "count"), [(0, 10), (3, 10), (10, 10), (533, 540), (1, 1)])
def test_wilson_interval_ends_where_the_score_test_just_rejects(right, count):
    """Closed form: at an end p of the interval |share - p| = z sqrt(p (1 - p) / count)."""
    z = 1.959963984540054
    low, high = wilson_interval(right, count)
    assert 0 <= low <= right / count <= high <= 1
    for end in (low, high):
        assert abs(right / count - end) == pytest.approx(z * np.sqrt(end * (1 - end) / count), abs=1e-12)


def test_wilson_interval_has_published_values():
    # Newcombe (1998), table I: 81 of 263 and 0 of 20 at 95 %.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


@pytest.mark.parametrize(
    ("right", "count", "confidence"), [(0, 0, 0.95), (-1, 5, 0.95), (6, 5, 0.95), (1, 5, 1.0), (1, 5, 0.0)]
)
def test_wilson_interval_refuses_what_makes_no_sense(right, count, confidence):
    with pytest.raises(ValueError, match=r"needed|outside"):
        wilson_interval(right, count, confidence)


def test_calibration_error_closed_form():
    # Bin (12/15, 13/15]: 4 examples of 0.85, 3 right. Bin (7/15, 8/15]: 1 of 0.5, wrong.
    confidence, right = np.array([0.85] * 4 + [0.5]), np.array([1, 1, 1, 0, 0])
    assert expected_calibration_error(confidence, right) == pytest.approx(4 / 5 * 0.10 + 1 / 5 * 0.5)


def test_calibration_error_cancels_within_a_bin_only():
    right = np.array([True, False])
    assert expected_calibration_error(np.array([0.51, 0.49]), right, bins=1) == pytest.approx(0.0)
    assert expected_calibration_error(np.array([0.51, 0.49]), right, bins=2) == pytest.approx(0.49)


def test_calibration_error_bins_are_closed_on_the_right():
    # 0.5 shares (0, 0.5] with 0.3, where the gaps -0.5 and 0.3 partly cancel; in [0.5, 1) they would add up.
    assert expected_calibration_error(np.array([0.5, 0.3]), np.array([1, 0]), bins=2) == pytest.approx(0.1)
    assert expected_calibration_error(np.array([0.0, 1.0]), np.array([0, 1])) == 0.0


def test_calibration_error_equals_an_independent_one():
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    logits, labels = random_logits(rows=500)
    probabilities = softmax(logits)
    theirs = functional.multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), num_classes=7, n_bins=15, norm="l1"
    )
    ours = expected_calibration_error(probabilities.max(1), probabilities.argmax(1) == labels)
    assert ours == pytest.approx(float(theirs), abs=1e-5)


@pytest.mark.parametrize(
    ("confidence", "right"), [([], []), ([0.5], [1, 0]), ([1.5], [1]), ([-0.1], [1]), ([float("nan")], [1])]
)
def test_calibration_error_refuses_bad_input(confidence, right):
    with pytest.raises(ValueError, match="needed"):
        expected_calibration_error(np.array(confidence), np.array(right))


def test_negative_log_likelihood_is_the_mean_of_minus_log_p():
    logits, labels = random_logits()
    p = softmax(logits)[np.arange(len(labels)), labels]
    assert negative_log_likelihood(logits, labels) == pytest.approx(-np.log(p).mean())
    assert negative_log_likelihood(np.array([[0.0, 5000.0]]), np.array([0])) == 5000.0


def test_class_scores_by_brute_force():
    rng = np.random.default_rng(2)
    predicted, labels = rng.integers(0, 4, 100), rng.integers(0, 4, 100)
    for score in class_scores(predicted, labels, 4, names="abcd"):
        c = score.class_id
        assert score.name == "abcd"[c]
        assert score.precision == np.mean(labels[predicted == c] == c)
        assert score.recall == np.mean(predicted[labels == c] == c)
        assert score.count == (labels == c).sum()


def test_class_scores_of_nothing_are_none_and_names_must_fit():
    never = class_scores(np.array([0]), np.array([0]), 2)[1]
    assert (never.precision, never.recall, never.count) == (None, None, 0)
    with pytest.raises(ValueError, match="one name a class"):
        class_scores(np.array([0]), np.array([0]), 2, names=["a"])


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (np.zeros(3), np.array([0]), "shape"),
        (np.zeros((0, 3)), np.zeros(0, int), "at least 1"),
        (np.zeros((2, 3)), np.array([0]), "one whole number an example"),
        (np.zeros((2, 3)), np.array([0.0, 1.0]), "whole number"),
        (np.array([[0.0, 1.0], [0.0, np.nan]]), np.array([0, 0]), "example 1 are not finite"),
        (np.zeros((2, 3)), np.array([0, 3]), "do not fit 3 classes"),
        (np.zeros((2, 3)), np.array([-1, 0]), "do not fit 3 classes"),
    ],
)
def test_bad_logits_and_labels_are_named(logits, labels, message):
    with pytest.raises(DataError, match=message):
        label_ranks(logits, labels)
