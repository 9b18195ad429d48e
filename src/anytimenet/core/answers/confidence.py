"""How sure a stage is of its answer: one number an example, higher = surer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log
from typing import Literal, get_args

import numpy as np

from anytimenet.core.answers.probabilities import log_softmax
from anytimenet.core.errors import suggest

Confidence = Literal["max_probability", "margin", "entropy"]

CONFIDENCES: tuple[str, ...] = get_args(Confidence)
"""`max_probability`: the largest probability, 0..1. `margin`: the largest minus the second, 0..1.
`entropy`: minus the entropy of the probabilities over its maximum, log(classes), so -1..0, 0 = certain."""

_LOG_OF_NOTHING = -800.0
"""exp of it is 0 in float64."""

_BLOCK = 1 << 22
"""Numbers worked on at once, so that float64 copies of a thousand classes stay small."""


def confidences(logits: Sequence[np.ndarray], kind: Confidence = "max_probability") -> np.ndarray:
    """Confidence of every stage in every example: (stages, examples), float64, higher = surer.

    Args:
        logits: one array (examples, classes) a stage, or one array (stages, examples, classes).
        kind: one of `CONFIDENCES`.

    Raises:
        ValueError: for another kind or shape, or logits that are not finite.

    >>> stage_1, stage_2 = np.zeros((2, 4)), np.log([[0.5, 0.25, 0.125, 0.125], [0.7, 0.1, 0.1, 0.1]])
    >>> confidences([stage_1, stage_2]).round(3).tolist()
    [[0.25, 0.25], [0.5, 0.7]]
    >>> confidences([stage_1, stage_2], "margin").round(3).tolist()
    [[0.0, 0.0], [0.25, 0.6]]
    >>> confidences([stage_1, stage_2], "entropy").round(3).tolist()
    [[-1.0, -1.0], [-0.875, -0.678]]
    """
    check_kind(kind)
    stages = [np.asarray(stage) for stage in logits]
    if not stages or any(stage.ndim != 2 or stage.shape != stages[0].shape for stage in stages):
        shapes = sorted({stage.shape for stage in stages})
        raise ValueError(f"logits (examples, classes) of one shape for each stage are needed, not {shapes}")
    examples, classes = stages[0].shape
    rows = rows_at_once(classes)
    found = np.empty((len(stages), examples))
    for stage, into in zip(stages, found, strict=True):
        for start in range(0, examples, rows):
            into[start : start + rows] = confidence_in(stage[start : start + rows], kind)
    if not np.isfinite(found).all():
        raise ValueError("logits that are not finite give no confidence: the net or its input is broken")
    return found


def confidence_in(logits: np.ndarray, kind: Confidence, temperature: float = 1.0) -> np.ndarray:
    """Confidence of one stage, (examples,), of its logits (examples, classes).

    An example gets the same number, bit for bit, alone and in any batch: what was simulated on stored outputs
    happens when the policy runs on the same ones.

    Args:
        logits: finite; nothing is checked here, for a policy asks at every step.
        kind: one of `CONFIDENCES`.
        temperature: the logits are divided by it first; above 1 the stage is less sure of itself.

    >>> confidence_in(np.log([[0.64, 0.36]]), "max_probability", temperature=0.5).round(3).tolist()
    [0.76]
    """
    # Sums depend on the order of their terms, and that on how an array lies in memory.
    values = np.ascontiguousarray(logits, dtype=np.float64)
    if temperature != 1.0:
        values = values / temperature
    if kind == "entropy":
        return _entropy(log_softmax(values))
    # What `confidence_of` makes of `log_softmax`, bit for bit, in half of the steps: the largest logarithm is
    # 0 less that of the sum, and of the others one at most is needed.
    below = values - np.maximum.reduce(values, axis=-1, keepdims=True)
    total = np.log(np.add.reduce(np.exp(below), axis=-1))
    best: np.ndarray = np.exp(-total)
    if kind == "margin" and values.shape[-1] > 1:
        below[np.arange(len(below)), below.argmax(axis=-1)] = -np.inf
        best -= np.exp(np.maximum.reduce(below, axis=-1) - total)
    return best


def confidence_of(log_probabilities: np.ndarray, kind: Confidence) -> np.ndarray:
    """Confidence over the last axis; -inf, a probability of 0, is allowed.

    >>> confidence_of(np.array([0.0, -np.inf]), "entropy").item()
    0.0
    """
    return _RULES[kind](log_probabilities)


def check_kind(kind: str) -> None:
    """Raises ValueError unless `kind` is one of `CONFIDENCES`."""
    if kind not in CONFIDENCES:
        raise ValueError(f"no confidence is named {kind!r}: {suggest(kind, CONFIDENCES)}")


def rows_at_once(numbers_a_row: int) -> int:
    """How many rows make a block of work."""
    return max(1, _BLOCK // max(numbers_a_row, 1))


def _max_probability(log_probabilities: np.ndarray) -> np.ndarray:
    best: np.ndarray = np.exp(log_probabilities.max(axis=-1))
    return best


def _margin(log_probabilities: np.ndarray) -> np.ndarray:
    if log_probabilities.shape[-1] == 1:
        return _max_probability(log_probabilities)
    two: np.ndarray = np.exp(np.partition(log_probabilities, -2, axis=-1)[..., -2:])
    margin: np.ndarray = two[..., 1] - two[..., 0]
    return margin


def _entropy(log_probabilities: np.ndarray) -> np.ndarray:
    classes = log_probabilities.shape[-1]
    probabilities = np.exp(log_probabilities)
    # Of a probability of 0 the logarithm may be -inf: 0 log 0 = 0 here. NaN stays NaN, which is below any
    # threshold. Minus the entropy, not 1 minus it, keeps very sure examples apart: 1 - 1e-20 is 1.
    terms = probabilities * np.maximum(log_probabilities, _LOG_OF_NOTHING)
    total: np.ndarray = np.add.reduce(terms, axis=-1)
    return total / log(classes) if classes > 1 else total


_RULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "max_probability": _max_probability,
    "margin": _margin,
    "entropy": _entropy,
}
