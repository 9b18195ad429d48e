"""A run whose arguments fit each other: what it ends with is known to work before its first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from anytimenet.bundle import Bundle
from anytimenet.bundle.folder import savable
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.records import TASKS, ScoreRecord, TaskRecord
from anytimenet.core.uncounted import MARK, incomplete_note
from anytimenet.costs import Rules, StageCost, stage_costs
from anytimenet.data import (
    AnyAugmentation,
    Augmentation,
    DataSplits,
    LargeImageAugmentation,
    Loader,
    MaskAugmentation,
    Mixing,
    Shard,
    StreamLoader,
    make_loader,
)
from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes.teacher import Teacher
from anytimenet.tasks import Task
from anytimenet.training import TrainConfig, check_launch, check_scheme, check_share
from anytimenet.training.logs import notice
from anytimenet.training.regimes import check_regime
from anytimenet.training.settling import settled
from anytimenet.workflows.choosing_task import check_output, task_for
from anytimenet.workflows.identity import provenance_of, run_identity
from anytimenet.workflows.images import plain_loader
from anytimenet.workflows.teachers import teacher_net
from anytimenet.workflows.views import Views

_VIEWED = 64
"""Images of a batch that only the backbone reads, at most."""


@dataclass(frozen=True, eq=False)
class Plan:
    """One run, settled and checked.

    Attributes:
        net: what is trained, in place.
        splits: the data.
        config: with the batch size and the statistics that it left to the data.
        task: what is learnt.
        augmentation: of training images, with nothing left for the machine to choose.
        mixing: of training batches.
        teacher: that the stages learn from.
        costs: of the stages, counted with `rules`.
        provenance: what the bundle remembers beside what the run says itself.
    """

    net: AnytimeNet
    splits: DataSplits
    config: TrainConfig
    task: Task
    augmentation: AnyAugmentation | None
    mixing: Mixing | None
    teacher: Teacher | None
    costs: Sequence[StageCost]
    rules: Rules | None
    provenance: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        net: AnytimeNet,
        splits: DataSplits,
        config: TrainConfig,
        *,
        augmentation: AnyAugmentation | None = None,
        mixing: Mixing | None = None,
        task: Task | None = None,
        teacher: AnytimeNet | Bundle | Path | str | None = None,
        provenance: Mapping[str, Any] | None = None,
        rules: Rules | None = None,
        resumed: Path | None = None,
    ) -> Plan:
        """The plan of a run, or of one that goes on in the folder `resumed`.

        Makes the bundle that training would end with, too, all but its weights and scores.

        Raises:
            BundleError: for what would be refused at the end: names that are no Unicode, provenance that is
                no JSON, a net that could not be saved.
            TrainingError: if several processes cannot share a batch.
            TypeError: for rules that are none.
            ValueError: for arguments that do not fit each other.
        """
        _check_net(net, splits, task)
        shape = _input_shape(splits)
        example = torch.zeros(2, *shape)
        config = settled(config, net, images=len(splits.train), example=example, folder=resumed)
        check_output(net, splits, task)
        if task is not None:
            _check_given_once(task, augmentation, config)
            augmentation = task.augmentation  # type: ignore[assignment]
        augmentation = _checked_augmentation(augmentation, splits.preprocessing)
        if task is None:
            task = task_for(net, splits, config.label_smoothing, augmentation)
        check_regime(net, config.regime)
        if config.regime != "joint" and task.augmentation is None:
            config = replace(config, head_views=1)  # others would be the same
        check_share(_batch_size(config, splits), config)
        teaching, costs = teacher_net(teacher, splits), stage_costs(net, shape, rules=rules)
        plan = cls(
            net, splits, config, task, augmentation, mixing, teaching, costs, rules, dict(provenance or {})
        )
        levels = len(net.num_classes) if task.kind == "hierarchical" else 1
        nothing = [(0.0,) * levels] * net.num_stages if len(splits.val) else []
        bundle = plan.bundle(config.epochs, nothing)
        savable(bundle.net, bundle.manifest)
        return plan

    def check(self) -> None:
        """Raises what the launch and the scheme of the run would refuse, without a step of training."""
        check_launch(self.config)
        check_scheme(self.net, self.config, input_shape=self.input_shape, teacher=self.teacher)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images that the net reads."""
        return _input_shape(self.splits)

    def training_batches(
        self, device: torch.device, shard: Shard, workers: int | None
    ) -> Loader | StreamLoader:
        """One process's share of the training batches."""
        splits, config, batch_size = self.splits, self.config, _batch_size(self.config, self.splits)
        return make_loader(
            splits.train,
            splits.preprocessing,
            batch_size=batch_size,
            augmentation=self.task.augmentation,
            mixing=self.mixing,
            num_classes=self.task.num_classes,
            shuffle=True,
            seed=config.seed,
            workers=workers,
            device=device,
            drop_last=config.drop_last or len(splits.train) % batch_size == 1,  # BatchNorm needs two images
            shard=shard,
        )

    def views(self, device: torch.device, workers: int | None) -> Views | None:
        """The training images as heads that learn alone read them; None where none does."""
        if self.config.regime == "joint":
            return None
        size = _batches_of_two(len(self.splits.train))
        loaders = (
            make_loader(
                self.splits.train,
                self.splits.preprocessing,
                batch_size=size,
                augmentation=augmentation,
                shuffle=True,
                seed=self.config.seed,
                workers=workers,
                device=device,
            )
            for augmentation in (None, self.task.augmentation)
        )
        return Views(*loaders)

    def val_batches(
        self, device: torch.device, shard: Shard, workers: int | None
    ) -> Loader | StreamLoader | None:
        """One process's share of the validation images; None without any."""
        splits = self.splits
        return (
            plain_loader(splits.val, splits.preprocessing, device, shard, workers)
            if len(splits.val)
            else None
        )

    def identity(self, init: str | None) -> dict[str, Any]:
        """What else than the configuration tells this run, whose weights started from `init`, from others."""
        return run_identity(self.net, self.splits, self.task, self.mixing, init, self.teacher)

    def bundle(self, best_epoch: int, accuracies: Sequence[Sequence[float]]) -> Bundle:
        """The bundle of the net, on the CPU, with the weights that training chose.

        Args:
            best_epoch: the epoch whose weights it has.
            accuracies: for each stage its validation scores, fine level first; empty without validation.
        """
        splits, task = self.splits, self.task
        accuracies = _fractions(accuracies, task)
        own = provenance_of(self.net, splits, self.config, task, self.augmentation, best_epoch)
        return Bundle.create(
            self.net,
            class_names=splits.class_names,
            preprocessing=splits.preprocessing,
            taxonomy=splits.taxonomy if len(splits.class_names) > 1 else None,
            val_accuracies=[row[0] for row in accuracies] or None,
            coarser_val_accuracies=[row[1:] for row in accuracies] or None,
            provenance={**own, **self.provenance},
            costs=self.costs,
            rules=self.rules,
            task=TaskRecord.of(task.kind, splits.mask_classes),
            score=_score_record(task),
        )

    def tell(self) -> None:
        """Says on standard error what looks like a mistake or is lacking, while it can still be helped."""
        if self.net.origin is None:
            notice(
                "this net was built by hand: its bundle is loaded by load(PATH, net=NET) only, with a net "
                "built alike. Register its builder (register_net) and build it with create_net, and the "
                "bundle loads by itself"
            )
        known, images = self.net.pretraining, self.splits.preprocessing
        other = known is not None and (known.mean, known.std) != (images.mean, images.std)
        if known is not None and other and known.channels == images.channels:
            notice(
                f"images are standardised as the data says (mean {_short(images.mean)}, std "
                f"{_short(images.std)}) and not as the trained weights know them (mean {_short(known.mean)}, "
                f"std {_short(known.std)}): load the data without mean and std to have that"
            )
        uncounted = sorted({name for cost in self.costs for name in cost.uncounted_operators})
        if uncounted:
            notice(f"multiply-adds are {incomplete_note(uncounted).removeprefix(MARK).strip()}")


def _input_shape(splits: DataSplits) -> tuple[int, int, int]:
    p = splits.preprocessing
    return p.channels, p.height, p.width


def _batch_size(config: TrainConfig, splits: DataSplits) -> int:
    assert config.batch_size is not None  # it is settled
    return min(config.batch_size, len(splits.train))


def _short(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def _batches_of_two(images: int) -> int:
    """Images of a batch such that the last one is not single: BatchNorms of heads need two."""
    return next((size for size in range(min(_VIEWED, images), 1, -1) if images % size != 1), 1)


def _check_net(net: AnytimeNet, splits: DataSplits, task: Task | None) -> None:
    weight = next(net.parameters())
    if weight.is_meta or weight.dtype != torch.float32:
        raise ValueError(
            f"the net's weights are {weight.dtype} on {weight.device}: float32 ones with values train"
        )
    learning = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    learnt = {stage for part in net.parts() if part.name in learning for stage in part.stages}
    if not learnt:
        raise ValueError("no weight of this net can learn: every one has requires_grad=False")
    own = task is not None and task.kind not in TASKS  # which need not predict the classes of the data
    what, wanted = ("task", task.num_classes) if task and own else ("data", splits.num_classes)
    if net.num_classes != wanted:
        raise ValueError(
            f"the net predicts {net.num_classes} classes and the {what} has {wanted}: "
            f"build it with num_classes={wanted}"
        )
    net.input_spec.check(_input_shape(splits))


def _check_given_once(task: Task, augmentation: object, config: TrainConfig) -> None:
    if augmentation is not None:
        raise ValueError("augmentation belongs to the task that was given: leave it out here")
    if config.label_smoothing:
        raise ValueError("label_smoothing belongs to the task that was given: leave it out of config")


def _checked_augmentation(
    augmentation: AnyAugmentation | None, preprocessing: Preprocessing
) -> AnyAugmentation | None:
    """The augmentation, with nothing left for the machine to choose."""
    side = min(preprocessing.height, preprocessing.width)
    if isinstance(augmentation, Augmentation | MaskAugmentation) and augmentation.pad >= side:
        raise ValueError(
            f"pad {augmentation.pad} would shift images out of sight: less than a side is needed"
        )
    if isinstance(augmentation, Augmentation | LargeImageAugmentation) and augmentation.cutout >= side:
        raise ValueError(
            f"cutout {augmentation.cutout} would black out whole images: less than a side ({side}) is needed"
        )
    return augmentation.settled() if isinstance(augmentation, LargeImageAugmentation) else augmentation


def _fractions(accuracies: Sequence[Sequence[float]], task: Task) -> Sequence[Sequence[float]]:
    """The validation scores; none, and a word, where a task of one's own gives no fractions."""
    if all(0 <= score <= 1 for row in accuracies for score in row):
        return accuracies
    notice(
        f"the validation scores of {type(task).__name__} are not from 0 to 1: the bundle is made without them"
    )
    return []


def _score_record(task: Task) -> ScoreRecord:
    headline = task.scores[0]
    return ScoreRecord(headline.key if task.kind == "segmentation" else headline.label)
