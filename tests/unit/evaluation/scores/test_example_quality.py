"""Promises of the per-example quality: falls, overthinking, histogram and envelope, by brute force."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from anytimenet.evaluation import ExampleQuality, measure_example_quality
from anytimenet.evaluation.scores.example_quality import (
    example_violations,
    largest_drops,
    monotone_envelope,
    overthinking_rate,
)

# Multiples of 1/40 land on the borders of the histogram's bins too.
probabilities = arrays.arrays(
    np.float64,
    st.tuples(st.integers(1, 5), st.integers(1, 20)),
    elements=st.integers(0, 40).map(lambda n: n / 40),
)


@given(probabilities)
def test_the_largest_fall_is_over_all_pairs_of_stages(probability):
    stages = len(probability)
    falls = [max(e[i] - e[j] for j in range(stages) for i in range(j + 1)) for e in probability.T]
    assert largest_drops(probability).tolist() == falls
    quality = measure_example_quality(probability, probability > 0.5, thresholds=(0, 0.05, 0.2))
    assert [d.share for d in quality.drops] == [np.mean([f > t for f in falls]) for t in (0, 0.05, 0.2)]


@given(probabilities)
def test_the_histogram_counts_every_example_and_agrees_with_the_shares(probability):
    examples = probability.shape[1]
    borders = [m / 20 for m in range(20)]
    quality = measure_example_quality(probability, probability > 0.5, thresholds=borders)
    assert sum(quality.drop_histogram) == examples
    for m in range(1, 20):
        assert sum(quality.drop_histogram[m:]) == round(quality.drops[m].share * examples)


@given(probabilities)
def test_the_envelope_never_falls_and_is_the_least_that_covers(probability):
    envelope = monotone_envelope(probability)
    assert (np.diff(envelope, axis=0) >= 0).all()
    assert envelope.tolist() == [probability[: k + 1].max(axis=0).tolist() for k in range(len(probability))]
    quality = measure_example_quality(probability, probability > 0.5)
    assert quality.envelope == pytest.approx(envelope.mean(axis=1))
    assert quality.probability == pytest.approx(probability.mean(axis=1))
    rising = measure_example_quality(envelope, envelope > 0.5)
    assert all(drop.share == 0 for drop in rising.drops)
    assert rising.overthinking == 0


@given(arrays.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 20))))
def test_overthinking_by_brute_force_and_never_above_the_violations(right):
    bad = [any(e) and not e[-1] for e in right.T]
    assert overthinking_rate(right) == np.mean(bad)
    assert overthinking_rate(right) <= example_violations(right)


def test_what_a_late_stage_repairs_is_a_violation_and_no_overthinking():
    right = np.array([[True], [False], [True]])
    assert (example_violations(right), overthinking_rate(right)) == (1, 0)


def test_json_round_trip_has_the_documented_keys():
    probability = np.random.default_rng(0).random((3, 50))
    quality = measure_example_quality(probability, probability > 0.5)
    values = json.loads(json.dumps(quality.to_dict(), allow_nan=False))
    assert list(values) == ["drops", "overthinking", "drop_histogram", "probability", "envelope"]
    assert [drop["threshold"] for drop in values["drops"]] == [0.01, 0.05, 0.1, 0.2, 0.5]
    assert ExampleQuality.from_dict(values) == quality


@pytest.mark.parametrize(
    ("probability", "right", "thresholds", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4), bool), (0.1,), "stages, examples"),
        (np.zeros((2, 0)), np.zeros((2, 0), bool), (0.1,), "stages, examples"),
        (np.full((2, 3), 1.5), np.zeros((2, 3), bool), (0.1,), "between 0 and 1"),
        (np.full((2, 3), np.nan), np.zeros((2, 3), bool), (0.1,), "between 0 and 1"),
        (np.zeros((2, 3)), np.zeros((2, 3), bool), (), "at least one"),
        (np.zeros((2, 3)), np.zeros((2, 3), bool), (1.0,), "below 1"),
    ],
)
def test_other_input_is_refused(probability, right, thresholds, message):
    with pytest.raises(ValueError, match=message):
        measure_example_quality(probability, right, thresholds)
