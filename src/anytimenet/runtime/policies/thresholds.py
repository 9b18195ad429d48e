"""Policies that compare a stage's confidence with a threshold: of the stage, or of the class it names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anytimenet.core import checks
from anytimenet.core.answers.confidence import Confidence, check_kind, confidence_in
from anytimenet.core.errors import BundleError
from anytimenet.runtime.backends.backend import Output
from anytimenet.runtime.policies.policy import NOTHING, Memory


@dataclass(frozen=True)
class ConfidencePolicy:
    """An example leaves at the first stage whose confidence reaches the stage's threshold.

    The rule of BranchyNet (Teerapittayanon et al. 2016; entropy) and MSDNet (Huang et al. 2018; maximum
    probability), on the fine label level.

    Attributes:
        confidence: what is compared, one of `CONFIDENCES`; higher is surer, of the entropy too.
        thresholds: one a stage; None where nobody leaves. At the last stage everybody does.
        temperatures: each stage's logits are divided by its own first (Guo et al. 2017), so that one
            threshold means the same at every stage; empty for none.

    Raises:
        ValueError: for another confidence, no stage, or temperatures that are not one positive number each.

    >>> policy = ConfidencePolicy("max_probability", (0.9, None, None))
    >>> sure, unsure = [3.0, 0.0], [0.5, 0.0]
    >>> leaves, _ = policy.leaves(1, (np.array([sure, unsure]),), policy.begin(2))
    >>> leaves.tolist()
    [True, False]
    """

    confidence: Confidence
    thresholds: tuple[float | None, ...]
    temperatures: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_kind(self.confidence)
        values = checks.several(self.thresholds, "thresholds")
        checked = tuple(checks.optional(value, "thresholds", checks.number) for value in values)
        object.__setattr__(self, "thresholds", checked)
        _check_temperatures(self, len(checked))

    @property
    def num_stages(self) -> int:
        """K."""
        return len(self.thresholds)

    def begin(self, batch: int) -> Memory:
        """Nothing is remembered."""
        return NOTHING

    def leaves(self, stage: int, output: Output, memory: Memory) -> tuple[np.ndarray, Memory]:
        """Whether each example is sure enough."""
        logits = logits_of(output)
        if stage == len(self.thresholds):
            return np.ones(len(logits), bool), memory
        threshold = self.thresholds[stage - 1]
        if threshold is None:
            return np.zeros(len(logits), bool), memory
        temperature = self.temperatures[stage - 1] if self.temperatures else 1.0
        return confidence_in(logits, self.confidence, temperature) >= threshold, memory


@dataclass(frozen=True, eq=False)
class ClassPolicy:
    """As `ConfidencePolicy`, with a threshold for each class that a stage may name.

    A stage that rarely errs when it says "bird" may let birds go early, and keep what it calls a cat.

    Attributes:
        confidence: what is compared, one of `CONFIDENCES`.
        thresholds: `(stages, classes)`, float64; +inf where nobody leaves. At the last stage everybody does.
        temperatures: as of `ConfidencePolicy`.

    Raises:
        ValueError: for another confidence, or an array of another shape or with NaN.

    >>> policy = ClassPolicy("max_probability", np.array([[0.9, 0.5], [0.0, 0.0]]))
    >>> leaves, _ = policy.leaves(1, (np.array([[1.0, 0.0], [0.0, 1.0]]),), policy.begin(2))
    >>> leaves.tolist()
    [False, True]
    """

    confidence: Confidence
    thresholds: np.ndarray
    temperatures: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_kind(self.confidence)
        thresholds = np.array(self.thresholds, dtype=np.float64)
        if thresholds.ndim != 2 or not thresholds.size or np.isnan(thresholds).any():
            raise ValueError(
                f"thresholds must be (stages, classes), without NaN, not of shape {thresholds.shape}"
            )
        thresholds.flags.writeable = False
        object.__setattr__(self, "thresholds", thresholds)
        _check_temperatures(self, len(thresholds))

    @property
    def num_stages(self) -> int:
        """K."""
        return len(self.thresholds)

    def begin(self, batch: int) -> Memory:
        """Nothing is remembered."""
        return NOTHING

    def leaves(self, stage: int, output: Output, memory: Memory) -> tuple[np.ndarray, Memory]:
        """Whether each example is sure enough of the class it is taken for."""
        logits = logits_of(output)
        if stage == len(self.thresholds):
            return np.ones(len(logits), bool), memory
        if logits.shape[1] != self.thresholds.shape[1]:
            raise BundleError(
                f"the policy has thresholds for {self.thresholds.shape[1]} classes and the net answers with "
                f"{logits.shape[1]}: solve them anew for this net"
            )
        temperature = self.temperatures[stage - 1] if self.temperatures else 1.0
        threshold = self.thresholds[stage - 1, logits.argmax(axis=1)]
        return confidence_in(logits, self.confidence, temperature) >= threshold, memory


def logits_of(output: Output) -> np.ndarray:
    """The logits of the fine level, `(N, classes)`.

    Raises:
        ValueError: for label maps, for which no policy is known.
    """
    if output[0].ndim != 2:
        raise ValueError(
            f"an exit policy reads logits (N, classes), not {output[0].shape}: a label map has no policy yet"
        )
    return output[0]


def _check_temperatures(policy: ConfidencePolicy | ClassPolicy, stages: int) -> None:
    checks.settle(policy, "temperatures", checks.numbers, above=0)
    if not stages or len(policy.temperatures) not in (0, stages):
        raise ValueError(
            f"{stages} stages and {len(policy.temperatures)} temperatures: a stage at least, and one "
            "temperature for each or none, are needed"
        )
