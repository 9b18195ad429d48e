"""Label levels: how right each stage is on each, and the choice that holds an accuracy across budgets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from anytimenet.bundle import Bundle
from anytimenet.core.answers.level_selection import Fallback, LevelSelection, check_target, select_levels
from anytimenet.core.checks import choice, instance
from anytimenet.core.errors import DataError
from anytimenet.data import DataSplits
from anytimenet.evaluation import ChosenLevels, judge_levels, level_accuracies
from anytimenet.workflows.evaluating import collect_outputs
from anytimenet.workflows.reading import check_reading


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
    """Chooses a label level for each stage so that an accuracy holds at every budget, and judges the choice.

    The choice is made on validation accuracies (`choose_levels`) and judged on `split`. To have a bundle
    answer by it: `bundle.use_levels(found.selection)`, then `bundle.save`.

    Args:
        bundle: from `fit` or `load`, of a net with several label levels.
        data: as in `evaluate`.
        target_accuracy: a fraction; by default, and for "full", the last stage's accuracy on fine labels.
        tolerance: how far below that default the target lies.
        fallback: what a stage takes where no level reaches the target: "coarsest", or "best" for its most
            accurate level.
        split: what the choice is judged on.
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
    if isinstance(split, str) and str(split) == "val":
        raise ValueError("split: levels are chosen on the validation images: judge them on another split")
    choice(split, "split", ("train", "test"))
    options: dict[str, Any] = {
        "skip_bad": skip_bad,
        "data_root": data_root,
        "device": device,
        "workers": workers,
        "trust_paths": trust_paths,
    }
    selection = choose_levels(
        bundle, data, target_accuracy=target_accuracy, tolerance=tolerance, fallback=fallback, **options
    )
    outputs = collect_outputs(bundle, data, split=split, **options)
    return judge_levels(outputs, selection, bundle.manifest.taxonomy)


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
    check_levels(bundle)
    target = None if isinstance(target_accuracy, str) and target_accuracy == "full" else target_accuracy
    check_target(target, tolerance, fallback)
    check_reading(
        bundle,
        data,
        skip_bad=skip_bad,
        data_root=data_root,
        device=device,
        workers=workers,
        trust_paths=trust_paths,
    )
    accuracies = bundle.manifest.level_accuracies
    if accuracies is None:
        if not (data is None or isinstance(data, str | os.PathLike | DataSplits)):
            raise DataError(
                "the bundle does not know how right it is on each label level, and a dataset has no "
                "validation part: give data by name or DataSplits"
            )
        outputs = collect_outputs(
            bundle,
            data,
            split="val",
            skip_bad=skip_bad,
            data_root=data_root,
            device=device,
            workers=workers,
            trust_paths=trust_paths,
        )
        accuracies = level_accuracies(outputs.logits, outputs.labels)
    return select_levels(accuracies, target, tolerance=tolerance, fallback=fallback)


def check_levels(bundle: Bundle) -> None:
    """Raises DataError unless the bundle's net predicts several label levels."""
    instance(bundle, Bundle, "bundle", "load(PATH)")
    if len(bundle.manifest.class_names) < 2:
        raise DataError(
            "this bundle predicts one label level, so there is none to choose: train it with "
            "DataOptions(taxonomy=FILE)"
        )
