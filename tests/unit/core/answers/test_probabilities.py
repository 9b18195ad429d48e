"""Softmax and its logarithm are the definition, and safe."""

import numpy as np

from anytimenet.core.answers.probabilities import log_softmax, softmax


def test_softmax_is_the_definition_and_is_safe_for_large_logits():
    logits = np.random.default_rng(0).normal(size=(200, 7)) * 3
    np.testing.assert_allclose(
        softmax(logits), np.exp(logits) / np.exp(logits).sum(1, keepdims=True), rtol=1e-12
    )
    np.testing.assert_allclose(softmax(logits + 1e5), softmax(logits), rtol=1e-9)
    assert softmax(np.float16([[60000.0, -60000.0]])).dtype == np.float64
    np.testing.assert_allclose(softmax(logits, axis=0), softmax(logits.T).T)
    np.testing.assert_allclose(np.exp(log_softmax(logits)), softmax(logits))
    assert np.isfinite(log_softmax(np.array([[1e30, -1e30]]))).all()
