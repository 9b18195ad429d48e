"""What training leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class TrainResult:
    """What training leaves behind; the net itself holds the best weights.

    Attributes:
        best_epoch: the epoch, counted from 1, whose weights were chosen.
        val_scores: validation score of each stage with those weights; empty without validation images.
        last_val_scores: the same after the last epoch.
        last_weights: the state_dict after the last epoch.
        history: one record per epoch.
    """

    best_epoch: int
    val_scores: list[float]
    last_val_scores: list[float]
    last_weights: dict[str, Tensor]
    history: list[dict[str, Any]] = field(default_factory=list)
