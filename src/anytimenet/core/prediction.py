"""What a run answers with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prediction:
    """The answer of one stage for one image.

    Attributes:
        label: name of the most probable class of the fine level.
        probabilities: `(classes,)` of the fine level, summing to 1.
        stage: the stage that gave it, counted from 1.
        elapsed_ms: wall-clock time from call to answer, preprocessing and decoding included.
        macs: counted multiply-adds of that stage's sub-network.
        over_budget: true if even stage 1 costs more than the budget given.
        coarser: names of the most probable classes of the coarser levels, if the net has them.
    """

    label: str
    probabilities: np.ndarray
    stage: int
    elapsed_ms: float
    macs: int
    over_budget: bool = False
    coarser: tuple[str, ...] = ()

    @property
    def probability(self) -> float:
        """Probability of `label`."""
        return float(self.probabilities.max())
