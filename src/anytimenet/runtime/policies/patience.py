"""Patience: an example leaves once several stages in a row gave the same answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anytimenet.core import checks
from anytimenet.runtime.backends.backend import Output
from anytimenet.runtime.policies.policy import Memory
from anytimenet.runtime.policies.thresholds import logits_of


@dataclass(frozen=True, eq=False)
class Streaks:
    """The last answer of each example, and how many stages in a row gave it.

    Attributes:
        answers: class on the fine level, `(N,)`; -1 before the first stage.
        lengths: stages in a row that gave it, `(N,)`.

    >>> Streaks(np.array([4, 7]), np.array([1, 3])).rows([1]).lengths.tolist()
    [3]
    """

    answers: np.ndarray
    lengths: np.ndarray

    def rows(self, index: Sequence[int] | np.ndarray) -> Streaks:
        """Those of these examples, in this order."""
        return Streaks(self.answers[index], self.lengths[index])

    def after(self, answers: np.ndarray) -> Streaks:
        """With the answers of one more stage."""
        return Streaks(answers, np.where(answers == self.answers, self.lengths + 1, 1))


@dataclass(frozen=True)
class PatiencePolicy:
    """An example leaves when enough stages in a row, this one included, gave the same class.

    The rule of PABEE (Zhou et al. 2020), whose patience t counts the repetitions: t there is t + 1 here.
    Only stages that ran count: on a path that jumps, those it visits.

    Attributes:
        lengths: stages in a row that must agree for an example to leave at each stage; None where nobody
            leaves. At the last stage everybody does.

    Raises:
        ValueError: for no stage, or a length under 1.

    >>> policy = PatiencePolicy.of(2, num_stages=3)
    >>> one, memory = policy.leaves(1, (np.array([[1.0, 0.0], [1.0, 0.0]]),), policy.begin(2))
    >>> two, memory = policy.leaves(2, (np.array([[3.0, 0.0], [0.0, 1.0]]),), memory)
    >>> one.tolist(), two.tolist(), memory.rows([1]).answers.tolist()
    ([False, False], [True, False], [1])
    """

    lengths: tuple[int | None, ...]

    def __post_init__(self) -> None:
        lengths = checks.several(self.lengths, "lengths")
        checked = tuple(checks.optional(length, "lengths", checks.whole_number, 1) for length in lengths)
        object.__setattr__(self, "lengths", checked)
        if not checked:
            raise ValueError("lengths must hold one number a stage, and is empty")

    @classmethod
    def of(cls, length: int, num_stages: int) -> PatiencePolicy:
        """The same length at every stage."""
        return cls((length,) * checks.whole_number(num_stages, "num_stages", 1))

    @property
    def num_stages(self) -> int:
        """K."""
        return len(self.lengths)

    def begin(self, batch: int) -> Streaks:
        """No answer yet."""
        return Streaks(np.full(batch, -1, np.intp), np.zeros(batch, np.intp))

    def leaves(self, stage: int, output: Output, memory: Memory) -> tuple[np.ndarray, Memory]:
        """Whether enough stages agreed on each example."""
        assert isinstance(memory, Streaks)  # what begin and leaves gave
        streaks = memory.after(logits_of(output).argmax(axis=1))
        if stage == len(self.lengths):
            return np.ones(len(streaks.answers), bool), streaks
        length = self.lengths[stage - 1]
        if length is None:
            return np.zeros(len(streaks.answers), bool), streaks
        return streaks.lengths >= length, streaks
