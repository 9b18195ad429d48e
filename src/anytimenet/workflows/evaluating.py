"""Evaluation: every stage of a bundle on held-out images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from anytimenet.bundle import Bundle
from anytimenet.core.answers.confidence import Confidence
from anytimenet.costs import Rules
from anytimenet.evaluation import (
    BudgetedBatch,
    Outputs,
    Report,
)
from anytimenet.evaluation.protocols.budgeted_batch import MSDNET_PS, ExitCost
from anytimenet.evaluation.scores.ensembles import Ensemble
from anytimenet.workflows.evaluation import Evaluation
from anytimenet.workflows.reading import Reading, Split


def evaluate(
    bundle: Bundle,
    data: Any = None,
    *,
    split: Split = "test",
    per_class: bool = False,
    ensemble: Ensemble | None = None,
    skip_bad: bool = False,
    data_root: Path | str | None = None,
    device: str = "auto",
    workers: int | None = 0,
    rules: Rules | None = None,
    trust_paths: bool = False,
    backend: str | None = None,
) -> Report:
    """Evaluates every stage of a bundle on a split of some data.

    A segmentation net gets a `SegmentationReport`, with mean IoU in the place of accuracy.

    Args:
        bundle: from `fit` or `load`.
        data: data by name or `DataSplits`, of which a split is evaluated, or a map-style dataset or
            `ImageSet`, of which every image is; by default the data of the training, split in the same way.
            For segmentation data with masks, or a `MaskSet`. A folder without parts is evaluated whole, and
            may hold some of the classes. Classes are matched by name. Images that the bundle was trained on
            are known again, whatever they are called and wherever they lie, and left out with a warning.
        split: "train", "val" or "test".
        per_class: adds precision and recall of each class.
        ensemble: adds the running ensemble of stages 1..k: "mean", "geometric" or "product".
        skip_bad: leave out images that cannot be read.
        data_root: where the files of data by name are; `$ANYTIMENET_DATA` or `data` by default.
        device: where the net runs; "auto" takes a CUDA device where there is one, as `fit` does.
        workers: processes that decode images which are read from files, as in `fit`.
        rules: what operators cost that the counter does not know, as in `fit`; the bundle remembers them.
        trust_paths: without `data`, follow the path that a bundle from elsewhere says its data is at; that of
            a bundle that was trained in this process is followed anyway.
        backend: whose latencies on this machine are told; by default those of the native engine, of eager
            PyTorch, or else of what was profiled here. Scores are always computed by PyTorch.

    Raises:
        CostTableError: if nobody profiled that backend here.
        DataError: if the data has other classes than the bundle, masks where it needs labels or labels where
            it needs masks, the split is empty or holds images of the training alone, or the bundle says a
            path and is not trusted with it.
        NotFiniteError: if a stage answers with NaN or infinity.
        ValueError: for no such split, ensemble or device.

    >>> from anytimenet import TrainConfig, create_net, fit
    >>> bundle = fit(create_net("resnet_tiny", in_channels=1), "digits", config=TrainConfig(epochs=1))
    >>> report = evaluate(bundle, "digits")
    >>> report.count
    539
    """
    reading = Reading(bundle, data, skip_bad, data_root, device, workers, trust_paths)
    return Evaluation(reading, rules).report(split, per_class=per_class, ensemble=ensemble, backend=backend)


def evaluate_budgeted(
    bundle: Bundle,
    data: Any = None,
    *,
    split: Literal["train", "test"] = "test",
    confidence: Confidence = "max_probability",
    cost: ExitCost = "macs_cumulative",
    ps: Sequence[float] = MSDNET_PS,
    budgets: Sequence[float] = (),
    skip_bad: bool = False,
    data_root: Path | str | None = None,
    device: str = "auto",
    workers: int | None = 0,
    rules: Rules | None = None,
    trust_paths: bool = False,
) -> BudgetedBatch:
    """Evaluates a bundle when many images share one budget: sure ones leave early, the others go on.

    Thresholds are solved on the validation images and applied to `split`; `evaluation.sweep_budgeted_batch`
    says how.

    Args:
        bundle: from `fit` or `load`.
        data: data by name or `DataSplits`; by default the data of the training, split in the same way.
        split: what the thresholds are evaluated on.
        confidence: what they compare: "max_probability", "margin" or "entropy".
        cost: what leaving at a stage costs; see `evaluation.budgeted_batch.EXIT_COSTS`.
        ps: the sweep; MSDNet's 39 values by default.
        budgets: mean costs an image to solve thresholds for, besides the sweep.
        skip_bad: leave out images that cannot be read.
        data_root: where the files of data by name are; `$ANYTIMENET_DATA` or `data` by default.
        device: where the net runs, as in `evaluate`.
        workers: processes that decode images which are read from files, as in `fit`.
        rules: what operators cost that the counter does not know, as in `fit`; the bundle remembers them.
        trust_paths: as in `evaluate`.

    Raises:
        DataError: if the data has no validation images, or other classes than the bundle.
        ValueError: for a choice that does not exist, or a budget below the first stage's cost.

    >>> from anytimenet import TrainConfig, create_net, fit
    >>> bundle = fit(create_net("resnet_tiny", in_channels=1), "digits", config=TrainConfig(epochs=1))
    >>> result = evaluate_budgeted(bundle, budgets=[800_000])
    >>> result.for_budgets[0].val_mean_cost <= 800_000, len(result.points)
    (True, 39)
    """
    reading = Reading(bundle, data, skip_bad, data_root, device, workers, trust_paths)
    return Evaluation(reading, rules).budgeted(
        split, confidence=confidence, cost=cost, ps=ps, budgets=budgets
    )


def collect_outputs(
    bundle: Bundle,
    data: Any = None,
    *,
    split: Split = "test",
    skip_bad: bool = False,
    data_root: Path | str | None = None,
    device: str = "auto",
    workers: int | None = 0,
    rules: Rules | None = None,
    trust_paths: bool = False,
) -> Outputs:
    """The logits of every stage on a split, with labels and costs: what every evaluation starts from.

    `evaluation.write_outputs` keeps them in a file, from which everything can be computed again without the
    net. Arguments and errors are those of `evaluate`.
    """
    reading = Reading(bundle, data, skip_bad, data_root, device, workers, trust_paths)
    return Evaluation(reading, rules).outputs(split)
