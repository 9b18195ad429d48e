"""Training: from a net and images to a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, get_args

from anytimenet.bundle import Bundle
from anytimenet.core import checks
from anytimenet.core.errors import BundleError, DataError, TrainingError
from anytimenet.core.files.folder_lock import HeldFolder, hold
from anytimenet.core.files.temporaries import sweep
from anytimenet.core.files.writing import check_writable
from anytimenet.core.images.pretraining import Pretraining
from anytimenet.core.launcher import launched_rank
from anytimenet.core.manifest.run_proof import check_run_folder
from anytimenet.costs import Rules
from anytimenet.data import (
    AnyAugmentation,
    DataOptions,
    DataSplits,
    ImageSet,
    MaskSet,
    Mixing,
    Shard,
    load_data,
    options_for,
    seen_images,
    splits_from_datasets,
)
from anytimenet.evaluation import level_accuracies
from anytimenet.nets.contract import AnytimeNet
from anytimenet.tasks import Task
from anytimenet.training import Reporter, TrainConfig, collect_logits, launch, preset
from anytimenet.training import train as train_net
from anytimenet.training.regimes import regime_for
from anytimenet.workflows.images import plain_loader
from anytimenet.workflows.plan import Plan
from anytimenet.workflows.starting import manifest_of, pretraining_of, start_from


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
            images and with the BatchNorm statistics that a run of so many steps needs. For a net that comes
            with trained weights, or starts from a bundle of other classes, `preset("pretrained")`.
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
    checks.instance(net, AnytimeNet, "net", "create_net(NAME)")
    if config is not None:
        checks.instance(config, TrainConfig, "config", "TrainConfig(epochs=10)")
    checks.dataset(train, "train", PathLike, DataSplits, ImageSet, MaskSet)
    if val is not None:
        checks.dataset(val, "val", PathLike, ImageSet, MaskSet)
    _check_kinds(augmentation, mixing, task, reporter, teacher, init)
    config = _config_for(net, init) if config is None else config
    out = out if isinstance(out, HeldFolder) else checks.optional(out, "out", checks.path)
    checks.flag(resume, "resume")
    workers = checks.workers(workers)
    provenance = checks.optional(provenance, "provenance", checks.json_values)
    if checks.optional(progress, "progress", checks.flag) is not None and reporter is not None:
        raise ValueError("give progress or a reporter, not both: a reporter shows what it likes")
    splits = _as_splits(train, val, config.seed, pretraining_of(init) or net.pretraining)
    started = None if init is None else "a bundle" if isinstance(init, Bundle) else str(init)
    plan = Plan.of(
        net,
        splits,
        config,
        augmentation=augmentation,
        mixing=mixing,
        task=task,
        teacher=teacher,
        provenance={**(provenance or {}), **({} if started is None else {"init": started})},
        rules=rules,
        resumed=None if out is None or not resume else Path(out),
    )
    seen = seen_images(splits)
    with _run_folder(out, resume) as folder:
        if init is not None:
            start_from(net, init)
        fabric = launch(plan.config)
        if fabric.global_rank == 0:
            plan.tell()
        shard = Shard(fabric.global_rank, fabric.world_size)
        result = train_net(
            net,
            plan.training_batches(fabric.device, shard, workers),
            plan.val_batches(fabric.device, shard, workers),
            plan.task,
            plan.config,
            folder=folder,
            resume=resume,
            identity=plan.identity(started),
            reporter=_reporter(net, splits, progress) if reporter is None else reporter,
            fabric=fabric,
            input_shape=plan.input_shape,
            teacher=plan.teacher,
            views=plan.views(fabric.device, workers),
        )
    accuracies: Sequence[Sequence[float]] = [(score,) for score in result.val_scores]
    if plan.task.kind == "hierarchical" and len(splits.val):
        # Once, with the chosen weights: while it trains, only the fine level is watched.
        batches = plain_loader(splits.val, splits.preprocessing, fabric.device, workers=workers)
        accuracies = level_accuracies(*collect_logits(net, batches))
    net.cpu()
    bundle = plan.bundle(result.best_epoch, accuracies)
    bundle.seen, bundle.fitted_here = seen, True
    return bundle


def _config_for(net: AnytimeNet, init: Bundle | Path | str | None) -> TrainConfig:
    """How to train if nothing is said, from fresh weights or from those that learnt something else before."""
    before = manifest_of(init)
    other = before is not None and tuple(len(names) for names in before.class_names) != net.num_classes
    if not other and (net.pretraining is None or init is not None):
        return TrainConfig()
    return replace(preset("pretrained"), regime=regime_for(net, pretrained=True))


def _check_kinds(
    augmentation: object, mixing: object, task: object, reporter: object, teacher: object, init: object
) -> None:
    """Raises TypeError, with an example, for what is none of the things that `fit` takes there."""
    called = ("note", "start", "step", "epoch", "stop")  # what training calls, of whatever class
    if reporter is not None and not all(callable(getattr(reporter, name, None)) for name in called):
        checks.instance(reporter, Reporter, "reporter", "Reporter()")
    by_path = "a bundle, or the path of one"
    for name, value, kinds, example in (
        ("augmentation", augmentation, get_args(AnyAugmentation), "Augmentation(flip=True, pad=4)"),
        ("mixing", mixing, (Mixing,), "Mixing(mixup=0.2)"),
        ("task", task, (Task,), "Segmentation((2,))"),
        ("teacher", teacher, (AnytimeNet, Bundle, Path, str), by_path),
        ("init", init, (Bundle, Path, str), by_path),
    ):
        if isinstance(value, str | Path):
            with checks.raised_as(BundleError):
                checks.instance(checks.path(value, name), kinds, name, example)
        elif value is not None:
            checks.instance(value, kinds, name, example)


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


def _as_splits(data: Any, val: Any, seed: int, pretraining: Pretraining | None) -> DataSplits:
    """The data of a run, standardised as the weights expect it that it starts from."""
    if isinstance(data, DataSplits | str | PathLike) and val is not None:
        raise DataError("data by name brings its own validation part; give `val` with a dataset only")
    if isinstance(data, str | PathLike):
        return load_data(data, DataOptions(seed=seed), pretraining=pretraining)
    if not isinstance(data, DataSplits):
        options = DataOptions(seed=seed, test_fraction=0)
        data = splits_from_datasets(data, val, options=options_for("", options, pretraining))
    splits: DataSplits = data
    return splits if pretraining is None else splits.suited_to(pretraining)
