"""From a trained net to its bundle: known to work before the first step of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anytimenet.bundle import Bundle
from anytimenet.bundle.folder import savable
from anytimenet.core.manifest.records import ScoreRecord, TaskRecord
from anytimenet.core.uncounted import MARK, incomplete_note
from anytimenet.costs import Rules, StageCost, stage_costs
from anytimenet.data import AnyAugmentation, DataSplits
from anytimenet.nets.contract import AnytimeNet
from anytimenet.tasks import Classification, Segmentation, Task
from anytimenet.training import TrainConfig
from anytimenet.training.logs import notice
from anytimenet.workflows.identity import provenance_of


def make_bundle(
    net: AnytimeNet,
    splits: DataSplits,
    config: TrainConfig,
    task: Task,
    augmentation: AnyAugmentation | None,
    *,
    costs: Sequence[StageCost],
    rules: Rules | None,
    best_epoch: int,
    accuracies: Sequence[Sequence[float]],
    provenance: Mapping[str, Any],
) -> Bundle:
    """The bundle of a net with the weights that training chose.

    Args:
        net: the net, on the CPU.
        splits: what it was trained on.
        config: how.
        task: what it learnt.
        augmentation: of its training images.
        costs: of its stages.
        rules: that they were counted with.
        best_epoch: the epoch whose weights it has.
        accuracies: for each stage its validation scores, fine level first; empty without validation.
        provenance: what else is remembered.

    Raises:
        BundleError: if these are no bundle.
    """
    accuracies = _fractions(accuracies, task)
    return Bundle.create(
        net,
        class_names=splits.class_names,
        preprocessing=splits.preprocessing,
        taxonomy=splits.taxonomy if len(splits.class_names) > 1 else None,
        val_accuracies=[row[0] for row in accuracies] or None,
        coarser_val_accuracies=[row[1:] for row in accuracies] or None,
        provenance={**provenance_of(splits, config, task, augmentation, best_epoch), **provenance},
        costs=costs,
        rules=rules,
        task=_task_record(splits, task),
        score=_score_record(task),
    )


def check_bundle(
    net: AnytimeNet,
    splits: DataSplits,
    config: TrainConfig,
    task: Task,
    augmentation: AnyAugmentation | None,
    *,
    rules: Rules | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> list[StageCost]:
    """Makes the bundle that training would end with, all but its weights and scores; returns the costs.

    Raises:
        BundleError: for what would be refused at the end: names that are no Unicode, provenance that is no
            JSON, a net that could not be saved.
        TypeError: for rules that are none.
    """
    p = splits.preprocessing
    costs = stage_costs(net, (p.channels, p.height, p.width), rules=rules)
    levels = len(net.num_classes) if isinstance(task, Classification) else 1
    bundle = make_bundle(
        net,
        splits,
        config,
        task,
        augmentation,
        costs=costs,
        rules=rules,
        best_epoch=config.epochs,
        accuracies=[(0.0,) * levels] * net.num_stages if len(splits.val) else [],
        provenance=provenance or {},
    )
    savable(bundle.net, bundle.manifest)
    return costs


def tell_before_training(net: AnytimeNet, costs: Sequence[StageCost]) -> None:
    """Says on standard error what the bundle will lack, while it can still be helped."""
    if net.origin is None:
        notice(
            "this net was built by hand: its bundle is loaded by load(PATH, net=NET) only, with a net built "
            "alike. Register its builder (register_net) and build it with create_net, and the bundle loads "
            "by itself"
        )
    uncounted = sorted({name for cost in costs for name in cost.uncounted_operators})
    if uncounted:
        notice(f"multiply-adds are {incomplete_note(uncounted).removeprefix(MARK).strip()}")


def _fractions(accuracies: Sequence[Sequence[float]], task: Task) -> Sequence[Sequence[float]]:
    """The validation scores; none, and a word, where a task of one's own gives no fractions."""
    if all(0 <= score <= 1 for row in accuracies for score in row):
        return accuracies
    notice(
        f"the validation scores of {type(task).__name__} are not from 0 to 1: the bundle is made without them"
    )
    return []


def _task_record(splits: DataSplits, task: Task) -> TaskRecord:
    if isinstance(task, Segmentation) or splits.mask_classes is not None:
        return TaskRecord("segmentation", splits.mask_classes)
    return TaskRecord()


def _score_record(task: Task) -> ScoreRecord:
    if isinstance(task, Segmentation):
        return ScoreRecord("mean_iou")
    return ScoreRecord("accuracy" if isinstance(task, Classification) else f"{type(task).__name__} score")
