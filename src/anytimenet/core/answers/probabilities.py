"""Logits as probabilities: the one softmax outside of autograd."""

from __future__ import annotations

from typing import Any

import numpy as np


def softmax(logits: Any, axis: int = -1) -> np.ndarray:
    """Probabilities along an axis, float64, safe for large logits.

    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    exponentials: np.ndarray = np.exp(_below_zero(logits, axis))
    exponentials /= exponentials.sum(axis=axis, keepdims=True)
    return exponentials


def log_softmax(logits: Any, axis: int = -1) -> np.ndarray:
    """Logarithms of `softmax`, float64; finite wherever the logits are.

    >>> log_softmax(np.array([1000.0, 0.0])).tolist()
    [0.0, -1000.0]
    """
    shifted = _below_zero(logits, axis)
    shifted -= np.log(np.add.reduce(np.exp(shifted), axis=axis, keepdims=True))
    return shifted


def _below_zero(logits: Any, axis: int) -> np.ndarray:
    """The logits less their maximum: no exponential overflows, and one of them is 1."""
    values = np.asarray(logits, dtype=np.float64)
    shifted: np.ndarray = values - np.maximum.reduce(values, axis=axis, keepdims=True)
    return shifted
