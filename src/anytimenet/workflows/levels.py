"""Label levels: how right each stage is on each, and the choice that holds an accuracy across budgets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from anytimenet.bundle import Bundle
from anytimenet.core.answers.level_selection import Fallback, LevelSelection
from anytimenet.evaluation import ChosenLevels
from anytimenet.workflows.evaluation import Evaluation, check_not_val
from anytimenet.workflows.reading import Reading


def evaluate_levels(
    bundle: Bundle,
    data: Any = None,
    *,
    target_accuracy: float | Literal["full"] | None = None,
    tolerance: float = 0.0,
    fallback: Fallback = "coarsest",
    split: Literal["train", "test"] = "test",
    skip_bad: bool = False,
    data_root: Path | str | None = None,
    device: str = "auto",
    workers: int | None = 0,
    trust_paths: bool = False,
) -> ChosenLevels:
    """Chooses a label level for each stage so that an accuracy holds at every budget, and evaluates it.

    The choice is made on validation accuracies (`choose_levels`) and evaluated on `split`. To have a bundle
    answer by it: `bundle.use_levels(found.selection)`, then `bundle.save`.

    Args:
        bundle: from `fit` or `load`, of a net with several label levels.
        data: as in `evaluate`.
        target_accuracy: a fraction; by default, and for "full", the last stage's accuracy on fine labels.
        tolerance: how far below that default the target lies.
        fallback: what a stage takes where no level reaches the target: "coarsest", or "best" for its most
            accurate level.
        split: what the choice is evaluated on.
        skip_bad, data_root, device, workers, trust_paths: as in `evaluate`.

    Raises:
        DataError: if the bundle has one label level, or there are no validation images to choose on.
        ValueError: for a target that is no fraction.

    >>> from anytimenet import DataOptions, TrainConfig, create_net, fit, load_data
    >>> shape = {str(i): "round" if i in (0, 3, 6, 8, 9) else "straight" for i in range(10)}
    >>> digits = load_data("digits", DataOptions(taxonomy=shape))
    >>> net = create_net("isresnext_tiny", num_classes=digits.num_classes, in_channels=1)
    >>> bundle = fit(net, digits, config=TrainConfig(epochs=1))
    >>> found = evaluate_levels(bundle, target_accuracy=0.0)
    >>> found.selection.levels, found.count
    ((1, 1, 1), 539)
    """
    evaluation = Evaluation(Reading(bundle, data, skip_bad, data_root, device, workers, trust_paths))
    check_not_val(split, "levels are chosen")
    selection = evaluation.select_levels(
        target_accuracy=target_accuracy, tolerance=tolerance, fallback=fallback
    )
    return evaluation.levels(selection, split)


def choose_levels(
    bundle: Bundle,
    data: Any = None,
    *,
    target_accuracy: float | Literal["full"] | None = None,
    tolerance: float = 0.0,
    fallback: Fallback = "coarsest",
    skip_bad: bool = False,
    data_root: Path | str | None = None,
    device: str = "auto",
    workers: int | None = 0,
    trust_paths: bool = False,
) -> LevelSelection:
    """The levels that hold an accuracy on the validation images; see `core.level_selection.select_levels`.

    The accuracies are those that training stored in the bundle; where it stored none the net runs on the
    validation part of `data`. Arguments and errors are those of `evaluate_levels`.
    """
    evaluation = Evaluation(Reading(bundle, data, skip_bad, data_root, device, workers, trust_paths))
    return evaluation.select_levels(target_accuracy=target_accuracy, tolerance=tolerance, fallback=fallback)
