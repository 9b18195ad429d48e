"""Where a run is, and what it has found so far: all that a checkpoint holds beside tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass
class Position:
    """Where a run is, and what it has found so far.

    Attributes:
        epochs: of the whole run in which all weights learn.
        steps_per_epoch: steps of each.
        ends_with_heads: whether the heads learn alone once more after them; that counts as one more epoch.
        epoch: the epoch that goes on, counted from 0.
        batch: its batch that comes next, counted from 0.
        losses: the sum of the losses of each stage in this epoch, and in how many steps it ran.
        history: one record for each finished epoch; before them that of the heads, of epoch 0, if they have
            learnt alone, and after them that of the heads which did so once more.
        best: number (from 1, or 0 for heads that have learnt alone), score and validation scores of the best
            epoch; the score is minus infinity before there is one.

    >>> position = Position(epochs=2, steps_per_epoch=3, epoch=1)
    >>> position.add({1: 0.5})
    >>> position.step, position.total_steps, position.mean_losses(2)
    (4, 6, [0.5, None])
    """

    epochs: int
    steps_per_epoch: int
    ends_with_heads: bool = False
    epoch: int = 0
    batch: int = 0
    losses: dict[int, tuple[float, int]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=lambda: {"epoch": 0, "score": -math.inf, "val": []})

    @property
    def step(self) -> int:
        """Steps done since the beginning of the run."""
        return self.epoch * self.steps_per_epoch + self.batch

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    @property
    def last_scores(self) -> list[float]:
        """The validation scores of the last finished epoch, one a stage; none without any."""
        return self.history[-1]["val"] if self.history else []

    @property
    def heads_learnt(self) -> bool:
        """Whether the heads have learnt alone."""
        return bool(self.history) and self.history[0]["epoch"] == 0

    @property
    def last_epoch(self) -> int:
        """How many epochs are finished at the end of the run."""
        return self.epochs + self.ends_with_heads

    @property
    def has_best(self) -> bool:
        """Whether there are best weights yet."""
        return bool(self.best["score"] > -math.inf)

    def add(self, losses: Mapping[int, float]) -> None:
        """One step is done; `losses` are those of the stages that ran in it."""
        for stage, loss in losses.items():
            total, count = self.losses.get(stage, (0.0, 0))
            self.losses[stage] = total + loss, count + 1
        self.batch += 1

    def mean_losses(self, stages: int) -> list[float | None]:
        """For each of so many stages the mean over the steps of this epoch that it ran in; None for none."""
        seen = [self.losses.get(stage, (0.0, 0)) for stage in range(1, stages + 1)]
        return [total / count if count else None for total, count in seen]

    def close_epoch(
        self,
        lr: float,
        losses: Sequence[float | None],
        scores: list[float],
        facts: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """Goes on to the next epoch; returns the record of the finished one, with further `facts`."""
        record = self._record(self.epoch + 1, lr, losses, scores, facts)
        self.epoch, self.batch, self.losses = self.epoch + 1, 0, {}
        return record

    def close_heads(
        self, lr: float, losses: Sequence[float], scores: list[float], facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The heads have learnt alone, on features of which there are `facts`; returns the record of that."""
        return self._record(0, lr, losses, scores, facts)

    def progress(self) -> dict[str, Any]:
        """What a checkpoint holds of it, epoch and batch apart, as JSON values."""
        best = self.best if self.has_best else {**self.best, "score": None}
        return {"best": best, "history": self.history, "losses": self.losses}

    def go_to(self, epoch: int, batch: int, progress: Mapping[str, Any]) -> None:
        """Goes to where a checkpoint was written; the best epoch is taken over by whoever has its weights."""
        self.epoch, self.batch = epoch, batch
        self.history = list(progress["history"])
        self.losses = {int(stage): tuple(seen) for stage, seen in progress["losses"].items()}

    def _record(
        self,
        epoch: int,
        lr: float,
        losses: Sequence[float | None],
        scores: list[float],
        facts: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        loss = sum(loss for loss in losses if loss is not None)
        record = {"epoch": epoch, "lr": lr, "loss": loss, "losses": losses, "val": scores, **facts}
        self.history.append(record)
        return record
