"""Training: from a net and images to a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, get_args

import torch

from anytimenet.bundle import Bundle
from anytimenet.core.checks import (
    dataset,
    flag,
    instance,
    json_values,
    optional,
    path,
    raised_as,
)
from anytimenet.core.checks import workers as checked_workers
from anytimenet.core.errors import BundleError, DataError, TrainingError
from anytimenet.core.files.folder_lock import HeldFolder, hold
from anytimenet.core.files.temporaries import sweep
from anytimenet.core.files.writing import check_writable
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.launcher import launched_rank
from anytimenet.core.manifest.run_proof import check_run_folder
from anytimenet.costs import Rules
from anytimenet.data import (
    AnyAugmentation,
    Augmentation,
    DataOptions,
    DataSplits,
    ImageSet,
    LargeImageAugmentation,
    Loader,
    MaskAugmentation,
    MaskSet,
    Mixing,
    Shard,
    StreamLoader,
    load_data,
    make_loader,
    seen_images,
    splits_from_datasets,
)
from anytimenet.evaluation import level_accuracies
from anytimenet.nets.contract import AnytimeNet
from anytimenet.tasks import Classification, Task
from anytimenet.training import (
    Reporter,
    TrainConfig,
    check_launch,
    check_scheme,
    check_share,
    collect_logits,
    launch,
)
from anytimenet.training import train as train_net
from anytimenet.training.settling import settled
from anytimenet.workflows.choosing_task import check_output, task_for
from anytimenet.workflows.identity import run_identity
from anytimenet.workflows.images import plain_loader
from anytimenet.workflows.plan import check_bundle, make_bundle, tell_before_training
from anytimenet.workflows.starting import start_from
from anytimenet.workflows.teachers import teacher_net


def fit(
    net: AnytimeNet,
    train: Any,
    val: Any = None,
    config: TrainConfig | None = None,
    *,
    augmentation: AnyAugmentation | None = None,
    mixing: Mixing | None = None,
    task: Task | None = None,
    out: Path | str | HeldFolder | None = None,
    resume: bool = False,
    workers: int | None = 0,
    progress: bool | None = None,
    reporter: Reporter | None = None,
    provenance: Mapping[str, Any] | None = None,
    teacher: AnytimeNet | Bundle | Path | str | None = None,
    init: Bundle | Path | str | None = None,
    rules: Rules | None = None,
) -> Bundle:
    """Trains `net` and returns it as a bundle, with the best validated weights.

    With `config.devices` above 1 the script that calls this runs again in the other processes, each on its
    share of every batch; all return equal bundles, and the first alone writes to `out` and reports.

    Args:
        net: a net from `create_net`; it is trained in place.
        train: a data set by name ("digits", "folder:PATH"), a folder as a path, `DataSplits`, or any
            map-style dataset of (image, label).
        val: a map-style dataset for validation; without it a part of the training data is set aside.
        config: how to train; the published CIFAR settings by default, in batches that follow the number of
            images and with the BatchNorm statistics that a run of so many steps needs.
        augmentation: of training images, `Augmentation` for those in memory, `LargeImageAugmentation` for
            those that are read from files and `MaskAugmentation` for those with masks; none by default.
        mixing: mixup or CutMix of training batches; none by default.
        task: loss, metric and decoding; by default segmentation for data with masks, else classification.
        out: folder for checkpoints and logs, new, empty or of an earlier run; nothing is written without it.
        resume: go on from the last checkpoint in `out`.
        workers: processes that decode images which are read from files; None takes the cores of this machine,
            0 decodes in this process. What comes out is the same.
        progress: a bar with the time that is left, where a person looks at a terminal or a notebook; True
            tells it in lines elsewhere too, False never.
        reporter: what shows the progress instead.
        provenance: what else the bundle should remember.
        teacher: a trained net or bundle that the stages learn from, for a scheme with a given teacher.
        init: what the weights start from: a bundle, also of other classes, or a checkpoint of another run,
            for example `RUN/checkpoints/best.safetensors`.
        rules: what operators cost that the counter does not know, by name: the multiply-adds of one call, 0
            for a free one, or a function as in `costs.count`. Without them the bundle says which are not
            counted.

    Everything that can refuse the run, or the bundle that it ends with, does so before the first step.

    Raises:
        BundleError: if no bundle could be made of the net, class names and provenance.
        ValueError: if the net's classes or channels are not those of the data, or the net does not allow the
            scheme.
        TrainingError: if `out` holds a run and `resume` is not given, holds anything else, or another run is
            writing into it; or training cannot go on, see `training.train`.

    >>> from anytimenet.nets import create_net
    >>> net = create_net("isresnext_tiny", num_classes=10, in_channels=1)
    >>> bundle = fit(net, "digits", config=TrainConfig(epochs=1, schedule="cosine"))
    >>> bundle.num_stages
    3
    """
    instance(net, AnytimeNet, "net", "create_net(NAME)")
    config = TrainConfig() if config is None else config
    instance(config, TrainConfig, "config", "TrainConfig(epochs=10)")
    dataset(train, "train", PathLike, DataSplits, ImageSet, MaskSet)
    if val is not None:
        dataset(val, "val", PathLike, ImageSet, MaskSet)
    _check_kinds(augmentation, mixing, task, reporter, teacher, init)
    out = out if isinstance(out, HeldFolder) else optional(out, "out", path)
    flag(resume, "resume")
    workers = checked_workers(workers)
    provenance = optional(provenance, "provenance", json_values)
    if optional(progress, "progress", flag) is not None and reporter is not None:
        raise ValueError("give progress or a reporter, not both: a reporter shows what it likes")
    splits = _as_splits(train, val, config.seed)
    config = _settled(net, splits, config, out if resume else None)
    task, augmentation, taught_by = _checked(net, splits, config, augmentation, task, teacher)
    provenance = dict(provenance or {})
    if init is not None:
        provenance["init"] = "a bundle" if isinstance(init, Bundle) else str(init)
    costs = check_bundle(net, splits, config, task, augmentation, rules=rules, provenance=provenance)
    seen = seen_images(splits)
    with _run_folder(out, resume) as folder:
        if init is not None:
            start_from(net, init)
        fabric = launch(config)
        if fabric.global_rank == 0:
            tell_before_training(net, costs)
        p = splits.preprocessing
        shard = Shard(fabric.global_rank, fabric.world_size)
        result = train_net(
            net,
            _training_loader(splits, task, mixing, config, fabric.device, shard, workers),
            plain_loader(splits.val, splits.preprocessing, fabric.device, shard, workers)
            if len(splits.val)
            else None,
            task,
            config,
            folder=folder,
            resume=resume,
            identity=run_identity(net, splits, task, mixing, provenance, taught_by),
            reporter=_reporter(net, splits, progress) if reporter is None else reporter,
            fabric=fabric,
            input_shape=(p.channels, p.height, p.width),
            teacher=taught_by,
        )
    accuracies: Sequence[Sequence[float]] = [(score,) for score in result.val_scores]
    if isinstance(task, Classification) and len(net.num_classes) > 1 and len(splits.val):
        # Once, with the chosen weights: while it trains, only the fine level is watched.
        batches = plain_loader(splits.val, splits.preprocessing, fabric.device, workers=workers)
        accuracies = level_accuracies(*collect_logits(net, batches))
    bundle = make_bundle(
        net.cpu(),
        splits,
        config,
        task,
        augmentation,
        costs=costs,
        rules=rules,
        best_epoch=result.best_epoch,
        accuracies=accuracies,
        provenance=provenance,
    )
    bundle.seen, bundle.fitted_here = seen, True
    return bundle


def _check_kinds(
    augmentation: object, mixing: object, task: object, reporter: object, teacher: object, init: object
) -> None:
    """Raises TypeError, with an example, for what is none of the things that `fit` takes there."""
    told = ("note", "start", "step", "epoch", "stop")  # what training calls, of whatever class
    if reporter is not None and not all(callable(getattr(reporter, name, None)) for name in told):
        instance(reporter, Reporter, "reporter", "Reporter()")
    by_path = "a bundle, or the path of one"
    for name, value, kinds, example in (
        ("augmentation", augmentation, get_args(AnyAugmentation), "Augmentation(flip=True, pad=4)"),
        ("mixing", mixing, (Mixing,), "Mixing(mixup=0.2)"),
        ("task", task, (Task,), "Segmentation((2,))"),
        ("teacher", teacher, (AnytimeNet, Bundle, Path, str), by_path),
        ("init", init, (Bundle, Path, str), by_path),
    ):
        if isinstance(value, str | Path):
            with raised_as(BundleError):
                instance(path(value, name), kinds, name, example)
        elif value is not None:
            instance(value, kinds, name, example)


def _reporter(net: AnytimeNet, splits: DataSplits, progress: bool | None) -> Reporter:
    name = type(net).__name__ if net.origin is None else net.origin.name
    return Reporter(progress, title=f"{name} on {splits.name}")


@contextmanager
def _run_folder(out: Path | str | HeldFolder | None, resume: bool) -> Iterator[Path | None]:
    """The folder of a run, which no other run writes into while the block runs."""
    if out is None:
        yield None
        return
    if launched_rank() == 0:
        _check_writable(Path(out))
    with hold(out) as held:
        if held is not out:  # whoever holds it already has looked into it
            _check_out(held.path, resume)
        if launched_rank() == 0:  # what an earlier attempt that was killed left there
            for folder in (held.path, held.path / "checkpoints"):
                sweep(folder)
        yield held.path


def _check_out(out: Path, resume: bool) -> None:
    check_run_folder(out)
    if not resume and (out / "checkpoints" / "last.safetensors").exists():
        raise TrainingError(
            f"{out} holds a run already: choose another folder, go on with resume=True, or delete it first"
        )


def _check_writable(out: Path) -> None:
    """Raises TrainingError, with the reason, unless files can be written into `out`."""
    try:
        check_writable(out)
    except OSError as error:
        raise TrainingError(
            f"{out} cannot be written ({error.strerror or error}): free some space or choose another out"
        ) from error


def check_fit(
    net: AnytimeNet,
    splits: DataSplits,
    config: TrainConfig,
    *,
    augmentation: AnyAugmentation | None = None,
    task: Task | None = None,
    teacher: AnytimeNet | Bundle | Path | str | None = None,
    provenance: Mapping[str, Any] | None = None,
    rules: Rules | None = None,
) -> None:
    """Raises what `fit` would refuse these arguments with, without a step of training."""
    config = _settled(net, splits, config, None)
    task, augmentation, taught_by = _checked(net, splits, config, augmentation, task, teacher)
    check_bundle(net, splits, config, task, augmentation, rules=rules, provenance=provenance)
    check_launch(config)
    p = splits.preprocessing
    check_scheme(net, config, input_shape=(p.channels, p.height, p.width), teacher=taught_by)


def _settled(
    net: AnytimeNet, splits: DataSplits, config: TrainConfig, resumed: Path | str | HeldFolder | None
) -> TrainConfig:
    """The configuration with what it leaves to the data: the batch size and the kind of statistics."""
    _check_net(net, splits)
    p = splits.preprocessing
    example = torch.zeros(2, p.channels, p.height, p.width)
    folder = None if resumed is None else Path(resumed)
    return settled(config, net, images=len(splits.train), example=example, folder=folder)


def _checked(
    net: AnytimeNet,
    splits: DataSplits,
    config: TrainConfig,
    augmentation: AnyAugmentation | None,
    task: Task | None,
    teacher: AnytimeNet | Bundle | Path | str | None,
) -> tuple[Task, AnyAugmentation | None, AnytimeNet | None]:
    """The task, the augmentation and the teacher of a run whose arguments fit each other."""
    check_output(net, splits)
    if task is not None:
        _check_given_once(task, augmentation, config)
        augmentation = task.augmentation  # type: ignore[assignment]
    augmentation = _checked_augmentation(augmentation, splits.preprocessing)
    if task is None:
        task = task_for(net, splits, config.label_smoothing, augmentation)
    assert config.batch_size is not None  # it is settled
    check_share(min(config.batch_size, len(splits.train)), config)
    return task, augmentation, teacher_net(teacher, splits)


def _check_given_once(task: Task, augmentation: object, config: TrainConfig) -> None:
    if augmentation is not None:
        raise ValueError("augmentation belongs to the task that was given: leave it out here")
    if config.label_smoothing:
        raise ValueError("label_smoothing belongs to the task that was given: leave it out of config")


def _as_splits(data: Any, val: Any, seed: int) -> DataSplits:
    if isinstance(data, DataSplits | str | PathLike) and val is not None:
        raise DataError("data by name brings its own validation part; give `val` with a dataset only")
    if isinstance(data, DataSplits):
        return data
    if isinstance(data, str | PathLike):
        return load_data(data, DataOptions(seed=seed))
    return splits_from_datasets(data, val, options=DataOptions(seed=seed, test_fraction=0))


def _check_net(net: AnytimeNet, splits: DataSplits) -> None:
    weight = next(net.parameters())
    if weight.is_meta or weight.dtype != torch.float32:
        raise ValueError(
            f"the net's weights are {weight.dtype} on {weight.device}: float32 ones with values train"
        )
    learning = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    learnt = {stage for part in net.parts() if part.name in learning for stage in part.stages}
    if not learnt:
        raise ValueError("no weight of this net can learn: every one has requires_grad=False")
    if net.num_classes != splits.num_classes:
        raise ValueError(
            f"the net predicts {net.num_classes} classes and the data has {splits.num_classes}: "
            f"build it with num_classes={splits.num_classes}"
        )
    net.input_spec.check(
        (splits.preprocessing.channels, splits.preprocessing.height, splits.preprocessing.width)
    )


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


def _training_loader(
    splits: DataSplits,
    task: Task,
    mixing: Mixing | None,
    config: TrainConfig,
    device: torch.device,
    shard: Shard,
    workers: int | None,
) -> Loader | StreamLoader:
    assert config.batch_size is not None  # it is settled
    batch_size = min(config.batch_size, len(splits.train))
    return make_loader(
        splits.train,
        splits.preprocessing,
        batch_size=batch_size,
        augmentation=task.augmentation,
        mixing=mixing,
        num_classes=task.num_classes,
        shuffle=True,
        seed=config.seed,
        workers=workers,
        device=device,
        drop_last=config.drop_last or len(splits.train) % batch_size == 1,  # BatchNorm needs two images
        shard=shard,
    )
