"""What a level selection is worth: the accuracy that it holds at every stage, and the information it costs.

Source: the sliced-networks paper, section 4.3. The baseline is not in the paper: it needs no coarser heads,
and answers with the class whose fine classes have the largest sum of probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from anytimenet.core.answers.level_selection import LevelSelection
from anytimenet.core.answers.probabilities import softmax
from anytimenet.core.errors import DataError
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.core.records import JsonForm, Record, stored
from anytimenet.evaluation.protocols.outputs import Outputs
from anytimenet.evaluation.scores.metrics import wilson_interval
from anytimenet.evaluation.text.tables import Column, percent_decimals, plain_table
from anytimenet.evaluation.text.units import format_count


@dataclass(frozen=True)
class ChosenStage:
    """One stage on the level that was chosen for it. Shares are fractions.

    Attributes:
        stage: number of the stage, from 1.
        macs: multiply-adds of its sub-network alone.
        level: the chosen level; 1 is the fine one.
        num_classes: classes of that level.
        information: log2 of `num_classes`, in bits: what an answer tells at most.
        val_accuracy: on that level, on the images that the selection was made on.
        accuracy: share of examples answered right on that level; `accuracy_low` and `accuracy_high` bound
            the 95 % Wilson interval.
        fine_accuracy: share answered right on the fine level.
        summed_accuracy: the baseline on the chosen level: probabilities of the fine classes, summed over the
            taxonomy; None without a taxonomy.
    """

    stage: int
    macs: int
    level: int
    num_classes: int
    information: float
    val_accuracy: float
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    fine_accuracy: float
    summed_accuracy: float | None


@dataclass(frozen=True)
class ChosenLevels(Record):
    """A level selection on one data split.

    Attributes:
        selection: what was evaluated.
        data: name of the data.
        split: name of the split.
        count: examples.
        stages: one entry a stage, stage 1 first.
    """

    selection: LevelSelection = field(metadata=stored(inline=True))
    data: str
    split: str
    count: int
    stages: tuple[ChosenStage, ...]
    json_form = JsonForm(
        what="levels chosen for stages",
        keys=(
            *("selection", "missed", "data", "split", "count", "stages", "worst_accuracy"),
            *("worst_fine_accuracy", "worst_summed_accuracy", "mean_information"),
        ),
    )

    @property
    def missed(self) -> tuple[int, ...]:
        """The stages that stay below the target on the validation images."""
        return self.selection.missed

    @property
    def worst_accuracy(self) -> float:
        """The lowest accuracy over the stages, each on its chosen level."""
        return min(stage.accuracy for stage in self.stages)

    @property
    def worst_fine_accuracy(self) -> float:
        """The lowest accuracy over the stages on the fine level: without a choice of levels."""
        return min(stage.fine_accuracy for stage in self.stages)

    @property
    def worst_summed_accuracy(self) -> float | None:
        """The lowest accuracy of the baseline over the stages; None without a taxonomy."""
        found = [stage.summed_accuracy for stage in self.stages if stage.summed_accuracy is not None]
        return min(found) if found else None

    @property
    def mean_information(self) -> float:
        """Mean of log2 of the number of classes over the stages, in bits."""
        return sum(stage.information for stage in self.stages) / len(self.stages)

    def table(self) -> str:
        """Plain aligned text: a line a stage."""
        decimals = percent_decimals(self.count)

        def percent(name: str) -> list[str]:
            values = [getattr(stage, name) for stage in self.stages]
            return ["-" if value is None else f"{100 * value:.{decimals}f}" for value in values]

        columns: list[Column] = [
            ("stage", [str(stage.stage) for stage in self.stages]),
            ("multiply-adds", [format_count(stage.macs) for stage in self.stages]),
            ("level", [str(stage.level) for stage in self.stages]),
            ("classes", [str(stage.num_classes) for stage in self.stages]),
            ("bits", [f"{stage.information:.2f}" for stage in self.stages]),
            ("accuracy %", percent("accuracy")),
            ("fine labels %", percent("fine_accuracy")),
            ("fine summed %", percent("summed_accuracy")),
        ]
        return plain_table(columns)


def evaluate_selection(
    outputs: Outputs, selection: LevelSelection, taxonomy: Taxonomy | None = None
) -> ChosenLevels:
    """Evaluates a level selection on outputs of all stages and levels.

    Args:
        outputs: of images that the selection was not made on.
        selection: from `core.level_selection.select_levels`.
        taxonomy: of the classes, for the baseline.

    Raises:
        DataError: if selection or taxonomy are of other stages, levels or classes.

    >>> import numpy as np
    >>> from anytimenet.evaluation.protocols.outputs import OutputCost
    >>> cost = OutputCost(stage=1, macs=10, full=12, params=3, macs_cumulative=10, msd=12)
    >>> fine, coarse = np.array([[2.0, 1.9, 1.8]]), np.array([[0.0, 1.0]])
    >>> outputs = Outputs(((fine, coarse),), np.array([[1, 1]]), (cost,))
    >>> taxonomy = Taxonomy((("oak", "cat", "dog"), ("plant", "animal")), ((0,), (1,), (1,)))
    >>> found = evaluate_selection(outputs, LevelSelection((2,), (0.9,), 0.8), taxonomy)
    >>> found.worst_accuracy, found.worst_fine_accuracy, found.worst_summed_accuracy, found.mean_information
    (1.0, 0.0, 1.0, 1.0)
    """
    sizes = [logits.shape[1] for logits in outputs.logits[0]]
    _check(outputs, selection, taxonomy, sizes)
    stages = []
    for cost, logits, level, val_accuracy in zip(
        outputs.costs, outputs.logits, selection.levels, selection.val_accuracies, strict=True
    ):
        labels = outputs.labels[:, level - 1]
        right = logits[level - 1].argmax(1) == labels
        low, high = wilson_interval(int(right.sum()), outputs.count)
        summed = None
        if taxonomy is not None:
            answers = taxonomy.sum_up(softmax(logits[0]), level).argmax(1)
            summed = float((answers == labels).mean())
        stages.append(
            ChosenStage(
                stage=cost.stage,
                macs=cost.macs,
                level=level,
                num_classes=sizes[level - 1],
                information=math.log2(sizes[level - 1]),
                val_accuracy=val_accuracy,
                accuracy=float(right.mean()),
                accuracy_low=low,
                accuracy_high=high,
                fine_accuracy=float((logits[0].argmax(1) == outputs.labels[:, 0]).mean()),
                summed_accuracy=summed,
            )
        )
    return ChosenLevels(selection, outputs.data, outputs.split, outputs.count, tuple(stages))


def level_accuracies(
    logits: Sequence[Sequence[np.ndarray]], labels: np.ndarray
) -> tuple[tuple[float, ...], ...]:
    """For each stage the share of examples that it answers right on each level, fine level first.

    Args:
        logits: for each stage one array `(N, classes)` a level.
        labels: `(N, levels)`.
    """
    return tuple(
        tuple(float((scores.argmax(1) == labels[:, level]).mean()) for level, scores in enumerate(stage))
        for stage in logits
    )


def _check(outputs: Outputs, selection: LevelSelection, taxonomy: Taxonomy | None, sizes: list[int]) -> None:
    if outputs.count == 0:
        raise DataError("levels are evaluated on examples, and there are none")
    if len(selection.levels) != outputs.num_stages or max(selection.levels) > len(sizes):
        raise DataError(
            f"levels {selection.levels} were selected, and there are outputs of {outputs.num_stages} stages "
            f"on {len(sizes)} levels: select them for this net"
        )
    if taxonomy is not None and [len(names) for names in taxonomy.levels] != sizes:
        classes = [len(names) for names in taxonomy.levels]
        raise DataError(
            f"the taxonomy has {classes} classes and the net predicts {sizes}: give the net's own taxonomy"
        )
