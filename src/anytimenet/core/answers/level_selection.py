"""Which label level each stage answers with, so that an accuracy holds across budgets.

Source: the sliced-networks paper, section 4.3, which says only that a level is chosen for each sub-network so
that a target is met. The rule here makes that definite.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from anytimenet.core import checks
from anytimenet.core.records import JsonForm, Record

TargetFrom = Literal["given", "full_net"]
Fallback = Literal["coarsest", "best"]

_ROUNDING = 1e-9
"""Far below what one image of a million changes, far above what a sum of floats is off: 0.8 - 0.1 > 0.7."""


@dataclass(frozen=True)
class LevelSelection(Record):
    """The level of each stage's answer, and what it was chosen for.

    Attributes:
        levels: one entry a stage; 1 is the fine level. They never rise: more computation never gives a
            coarser answer.
        val_accuracies: the accuracy of each stage on its level, on the validation images.
        target_accuracy: the accuracy that was to be held, a fraction.
        target_from: "given", or "full_net" for the last stage's accuracy on the fine level.

    Raises:
        TypeError: for a field of another kind.
        ValueError: for levels that rise or start below 1, or numbers that do not fit each other.

    >>> LevelSelection((2, 1), (0.8, 0.7), 0.7).missed
    ()
    """

    levels: tuple[int, ...]
    val_accuracies: tuple[float, ...]
    target_accuracy: float
    target_from: TargetFrom = "given"
    json_form = JsonForm(what="a selection of levels")

    def __post_init__(self) -> None:
        checks.settle(self, "levels", checks.whole_numbers, 1)
        checks.settle(self, "val_accuracies", checks.fractions)
        checks.settle(self, "target_accuracy", checks.fraction)
        checks.settle(self, "target_from", checks.choice, get_args(TargetFrom))
        if not self.levels:
            raise ValueError("levels must hold a level from 1 on for each stage, and is empty")
        if any(later > sooner for sooner, later in zip(self.levels, self.levels[1:], strict=False)):
            raise ValueError(f"the levels {self.levels} rise: a later stage must not answer more coarsely")
        if len(self.val_accuracies) != len(self.levels):
            raise ValueError(f"{len(self.levels)} levels and {len(self.val_accuracies)} accuracies")

    @property
    def missed(self) -> tuple[int, ...]:
        """The stages that stay below the target on the validation images."""
        reached = enumerate(self.val_accuracies, start=1)
        return tuple(stage for stage, accuracy in reached if not _reaches(accuracy, self.target_accuracy))

    def keep(self, stages: Sequence[int]) -> LevelSelection:
        """The selection of the net with only these stages, an increasing subset."""
        stages = checks.increasing(stages, "stages", len(self.levels))
        return replace(
            self,
            levels=tuple(self.levels[stage - 1] for stage in stages),
            val_accuracies=tuple(self.val_accuracies[stage - 1] for stage in stages),
        )


def select_levels(
    accuracies: Sequence[Sequence[float]],
    target_accuracy: float | None = None,
    *,
    tolerance: float = 0.0,
    fallback: Fallback = "coarsest",
) -> LevelSelection:
    """The finest levels that hold an accuracy at every stage, and that never rise from stage to stage.

    From the last stage to the first, each takes the finest level that reaches the target and is no finer than
    the next stage's. Of all choices that never rise and reach the target, this one is the finest at every
    stage at once. A stage where no level reaches it takes the coarsest.

    Args:
        accuracies: for each stage its validation accuracy on each level, fine level first; fractions.
        target_accuracy: what is to be held; by default the last stage's accuracy on the fine level.
        tolerance: how far below that default the target lies.
        fallback: what a stage takes where no level reaches the target: "coarsest", or "best" for its most
            accurate level.

    Raises:
        ValueError: for numbers that are no fractions, rows of different lengths, or a tolerance beside a
            given target.

    >>> select_levels([[0.5, 0.7], [0.6, 0.75], [0.7, 0.8]]).levels
    (2, 2, 1)
    >>> select_levels([[0.5, 0.7], [0.6, 0.75], [0.7, 0.8]], 0.6).levels
    (2, 1, 1)
    """
    rows = [checks.fractions(row, "accuracies") for row in checks.several(accuracies, "accuracies")]
    check_target(target_accuracy, tolerance, fallback)
    if not rows or not rows[0] or len({len(row) for row in rows}) > 1:
        raise ValueError("levels are selected from one row of accuracies a stage, one entry a level in each")
    target = max(0.0, rows[-1][0] - tolerance) if target_accuracy is None else float(target_accuracy)
    levels: list[int] = []
    finest = 1
    for row in reversed(rows):
        allowed = range(finest, len(row) + 1)
        reaching = [level for level in allowed if _reaches(row[level - 1], target)]
        finest = reaching[0] if reaching else _fallback(row, allowed, fallback)
        levels.insert(0, finest)
    return LevelSelection(
        tuple(levels),
        tuple(row[level - 1] for row, level in zip(rows, levels, strict=True)),
        target,
        "full_net" if target_accuracy is None else "given",
    )


def check_target(target_accuracy: object, tolerance: object, fallback: object) -> None:
    """Raises TypeError or ValueError unless levels can be selected for such a target."""
    checks.optional(target_accuracy, "target_accuracy", checks.fraction)
    if checks.fraction(tolerance, "tolerance") and target_accuracy is not None:
        raise ValueError("tolerance lowers the full net's accuracy: leave it out beside target_accuracy")
    checks.choice(fallback, "fallback", get_args(Fallback))


def _reaches(accuracy: float, target: float) -> bool:
    return accuracy >= target - _ROUNDING


def _fallback(row: Sequence[float], allowed: range, fallback: Fallback) -> int:
    if fallback == "coarsest":
        return allowed[-1]
    return max(allowed, key=lambda level: (row[level - 1], -level))
