"""What one answer may cost: milliseconds, multiply-adds, a stage, or what an accuracy takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from anytimenet.core import checks
from anytimenet.core.manifest.manifest import Manifest

_NAMES = ("stage", "budget_macs", "deadline_ms", "target_accuracy")


@dataclass(frozen=True)
class Choice:
    """The stage that answers where no clock is read.

    Attributes:
        stage: from 1.
        over_budget: whether even the cheapest stage costs more than was allowed.
        below_target: whether no stage reaches the accuracy that was asked for.
    """

    stage: int
    over_budget: bool = False
    below_target: bool = False


@dataclass(frozen=True)
class Budget:
    """At most one of the four; with none the best validated stage answers.

    Attributes:
        deadline_ms: wall-clock time from the call to the answer. It may be zero or negative, for whoever
            asks late: the cheapest stage answers then, and is late.
        budget_macs: multiply-adds that may be spent.
        stage: the stage that answers.
        target_accuracy: validated accuracy, 0..1: the cheapest stage that reaches it answers.

    Raises:
        TypeError, ValueError: for values out of range, NaN among them, or more than one of the four.

    >>> Budget(deadline_ms=5.0).deadline_ms
    5.0
    >>> Budget(stage=1, budget_macs=9)
    Traceback (most recent call last):
    ValueError: give stage=K or budget_macs, not both: each says what is spent
    """

    deadline_ms: float | None = None
    budget_macs: float | None = None
    stage: int | None = None
    target_accuracy: float | None = None

    def __post_init__(self) -> None:
        if self.deadline_ms is not None:
            checks.settle(self, "deadline_ms", checks.number, infinite=True)
        checks.settle(self, "budget_macs", checks.optional, checks.number, 0, infinite=True)
        checks.settle(self, "stage", checks.optional, checks.whole_number, -checks.LARGEST)  # K is not known
        checks.settle(self, "target_accuracy", checks.optional, checks.fraction)
        given = [name for name in _NAMES if getattr(self, name) is not None]
        if len(given) > 1:
            several = "both" if len(given) == 2 else "all"
            words = " or ".join("stage=K" if name == "stage" else name for name in given)
            raise ValueError(f"give {words}, not {several}: each says what is spent")

    @property
    def is_timed(self) -> bool:
        """Whether the clock decides."""
        return self.deadline_ms is not None and self.deadline_ms < math.inf

    @property
    def is_open(self) -> bool:
        """Whether nothing is said, so that exits by confidence may decide alone."""
        return self == Budget() or self.deadline_ms == math.inf

    def choice(self, manifest: Manifest) -> Choice:
        """The stage that answers, as far as the clock has no say in it.

        Raises:
            ValueError: for a stage that does not exist, multiply-adds that are not complete, or a target
                where no accuracy was measured.
        """
        if self.target_accuracy is None:
            return Choice(*manifest.answering_stage(self.stage, self.budget_macs))
        accurate = {
            record.stage: record.val_accuracy for record in manifest.stages if record.val_accuracy is not None
        }
        if not accurate:
            raise ValueError(
                "target_accuracy needs validated stages, and this bundle was never validated: give a "
                "stage, budget_macs or deadline_ms"
            )
        enough = [stage for stage, accuracy in accurate.items() if accuracy >= self.target_accuracy]
        if not enough:
            return Choice(manifest.best_stage()[0], below_target=True)
        return Choice(min(enough, key=lambda stage: (manifest.stages[stage - 1].macs, stage)))


class StageChoices:
    """Which stage answers where no clock is read, of those that can be run.

    Args:
        manifest: of the net.
        reached: the stages that segments lead to, rising; an export may leave some out.
    """

    def __init__(self, manifest: Manifest, reached: Sequence[int]) -> None:
        whole = len(reached) in (0, manifest.num_stages)
        self._manifest, self._of = manifest, manifest if whole else manifest.keep(reached)
        self._reached = range(1, manifest.num_stages + 1) if whole else reached

    def of(self, budget: Budget) -> Choice:
        """The stage for a budget; one that was asked for by its number need not be among them.

        Raises:
            ValueError: as `Budget.choice` does.
        """
        if budget.stage is not None:
            return budget.choice(self._manifest)
        found = budget.choice(self._of)
        return replace(found, stage=self._reached[found.stage - 1])
