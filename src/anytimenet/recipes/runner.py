"""Runs an experiment from its data to a saved bundle, a report and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from anytimenet.bundle import Bundle
from anytimenet.core.checks import flag, instance, optional, texts
from anytimenet.core.checks import path as checked_path
from anytimenet.core.errors import DataError, require
from anytimenet.core.files.folder_lock import HeldFolder, hold
from anytimenet.core.files.writing import write_json, write_text
from anytimenet.core.launcher import launched_count, launched_rank
from anytimenet.data import DataSplits, MaskSet, augmentation_for, load_data
from anytimenet.evaluation import (
    Report,
    SegmentationReport,
    most_varied,
    read_any_report,
    write_report,
)
from anytimenet.nets import AnytimeNet, create_net
from anytimenet.nets.fresh_weights import draw_weights
from anytimenet.recipes.experiment import Experiment
from anytimenet.recipes.run_folder import (
    check_apart,
    check_clearable,
    claim_folder,
    clear_folder,
)
from anytimenet.training import Reporter, wait_for_processes
from anytimenet.workflows import check_fit, draw_masks, evaluate, fit
from anytimenet.workflows.starting import start_from


@dataclass(frozen=True)
class Run:
    """What an experiment leaves behind.

    Attributes:
        folder: holds `bundle/`, `report.json`, `report.csv`, `curve.png`, `summary.txt`, `log.jsonl`, and of
            a net that labels pixels `masks.png`, one test image at every stage.
        bundle: the trained net.
        report: its stages on the test images.
    """

    folder: Path
    bundle: Bundle
    report: Report | SegmentationReport


def run(
    experiment: Experiment,
    out: Path | str | HeldFolder,
    *,
    init: Path | str | None = None,
    teacher: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    recipe_name: str = "",
) -> Run:
    """Trains and judges one experiment; everything lands in `out`.

    Where several processes train together the first one claims the folder, judges and writes; the others
    come back with what it wrote.

    Args:
        experiment: what to run.
        out: a folder, new, empty or of an earlier run; it is made if it is missing.
        init: a bundle whose weights are the start, also for other classes, or a checkpoint of a run, for
            example `RUN/checkpoints/best.safetensors`.
        teacher: a bundle that the stages learn from, for a scheme with a given teacher.
        resume: go on with what an earlier attempt left in `out`.
        overwrite: replace a run that is in `out`: what runs write is deleted, and nothing else.
        quiet: no progress; without it there is some where a person looks, see `Reporter`.
        recipe_name: remembered in the bundle.

    Raises:
        DataError: if the data cannot be used.
        ValueError: if net and data do not fit.
        TrainingError: if `out` holds a run and neither `resume` nor `overwrite` is given, holds anything
            else, or another run is writing into it; or training cannot go on.
    """
    instance(experiment, Experiment, "experiment", "recipe(NAME).build()")
    if not isinstance(out, HeldFolder):
        out = checked_path(out, "out")
    for name, given in (("init", init), ("teacher", teacher)):
        optional(given, name, checked_path)
    for name, switch in (("resume", resume), ("overwrite", overwrite), ("quiet", quiet)):
        flag(switch, name)
    texts((recipe_name,), "recipe_name")
    with hold(out) as held:
        return _run(
            experiment,
            held,
            init=init,
            teacher=teacher,
            resume=resume,
            overwrite=overwrite,
            quiet=quiet,
            recipe_name=recipe_name,
        )


def _run(
    experiment: Experiment,
    held: HeldFolder,
    *,
    init: Path | str | None,
    teacher: Path | str | None,
    resume: bool,
    overwrite: bool,
    quiet: bool,
    recipe_name: str,
) -> Run:
    """`run` in a folder that no other run writes into."""
    folder = held.path
    claim_folder(folder, resume=resume, overwrite=overwrite)
    splits, net = _prepare(experiment, init)
    _check_end(splits)
    if overwrite and not resume:
        _check(experiment, splits, net, folder, init, teacher)
        clear_folder(folder)
    first = launched_rank() == 0
    told = folder / "experiment.json"
    # A resumed run may turn out to be another one: what is there stays until training agrees.
    fresh = first and not (resume and told.exists())
    if fresh:
        write_json(told, experiment.to_dict())
    try:
        bundle = fit(
            net,
            splits,
            config=experiment.config,
            augmentation=augmentation_for(splits.train, experiment.augmentation),
            mixing=experiment.mixing,
            workers=experiment.workers,
            out=held,
            resume=resume,
            reporter=_reporter(experiment, splits, quiet),
            provenance=_provenance(experiment, recipe_name, init, teacher),
            teacher=teacher,
        )
    except ValueError:
        # Refused before its first step: nothing may be in the way of the corrected command.
        if fresh and not (folder / "log.jsonl").exists():
            told.unlink(missing_ok=True)
        raise
    if first:
        write_json(told, experiment.to_dict())
        report = evaluate(bundle, splits, workers=experiment.workers)
        write_report(report, folder)
        if isinstance(splits.test, MaskSet):
            draw_masks(bundle, splits.test, most_varied(splits.test.masks), folder / "masks.png")
        pictured = {name: folder / name for name in ("report.json", "curve.png")}
        bundle.save(folder / "bundle", extra_files=pictured, overwrite=True)
        write_text(folder / "summary.txt", summary(experiment, splits, bundle, report))
    wait_for_processes(launched_count())
    return Run(folder, bundle, report if first else read_any_report(folder))


def run_seeds(experiment: Experiment, out: Path | str, seeds: Sequence[int], **options: Any) -> list[Run]:
    """The experiment once per seed, in `out/seed-N`; the seed draws weights, order and validation split."""
    resume, overwrite = options.get("resume", False), options.get("overwrite", False)
    with hold(out) as held:
        folder = held.path
        claim_folder(folder, resume=resume, overwrite=overwrite, seeds=True)
        if overwrite and not resume:
            first = with_seed(experiment, seeds[0])
            check_experiment(first, folder, options.get("init"), options.get("teacher"))
            clear_folder(folder)
        return [run(with_seed(experiment, seed), folder / f"seed-{seed}", **options) for seed in seeds]


def check_experiment(
    experiment: Experiment,
    folder: Path,
    init: Path | str | None = None,
    teacher: Path | str | None = None,
) -> None:
    """Raises what a run would be refused with, before anything in `folder` is deleted for it."""
    splits, net = _prepare(experiment, init)
    _check_end(splits)
    _check(experiment, splits, net, folder, init, teacher)


def with_seed(experiment: Experiment, seed: int) -> Experiment:
    """The experiment with another seed for weights, order and validation split."""
    return replace(
        experiment,
        config=replace(experiment.config, seed=seed),
        options=replace(experiment.options, seed=seed),
    )


def load_experiment_data(experiment: Experiment) -> DataSplits:
    """The experiment's data.

    Raises:
        DataError: if the recipe leaves the data to the user and none was named.
    """
    if not experiment.data:
        raise DataError(
            "this recipe needs data: give data='folder:PATH', with one sub-folder of images a class, "
            "data='imagenet:PATH' or data='cub:PATH'; for a net that labels pixels data='camvid:PATH' or "
            "data='masks:PATH'"
        )
    return load_data(experiment.data, experiment.options)


def build_net(experiment: Experiment, splits: DataSplits) -> AnytimeNet:
    """The experiment's net for that data, with weights drawn from the seed."""
    torch.manual_seed(experiment.config.seed)
    arguments = {"in_channels": splits.preprocessing.channels, **experiment.net_arguments}
    net = create_net(experiment.net, splits.num_classes, **arguments)
    if experiment.stages is None:
        return net
    net = net.keep(experiment.stages)
    torch.manual_seed(experiment.config.seed)
    draw_weights(net)
    return net


def _prepare(experiment: Experiment, init: Path | str | None) -> tuple[DataSplits, AnytimeNet]:
    """The experiment's data, and its net with the weights that it starts from."""
    splits = load_experiment_data(experiment)
    net = build_net(experiment, splits)
    if init is not None:
        start_from(net, init)
    return splits, net


def _check_end(splits: DataSplits) -> None:
    """Raises what a run would only stumble over when its net is to be judged and drawn."""
    require("matplotlib", "train")
    if len(splits.test) == 0 and len(splits.val) == 0:
        raise DataError(f"{splits.name} leaves no images to judge the net on: set a part of them aside")


def _provenance(
    experiment: Experiment, recipe_name: str, init: Path | str | None, teacher: Path | str | None
) -> dict[str, Any]:
    """What the bundle remembers beside what `fit` tells it."""
    return {
        "recipe": recipe_name,
        "experiment": experiment.to_dict(),
        "init": str(init or ""),
        "teacher": str(teacher or ""),
    }


def _check(
    experiment: Experiment,
    splits: DataSplits,
    net: AnytimeNet,
    folder: Path,
    init: Path | str | None,
    teacher: Path | str | None,
) -> None:
    check_apart(folder, init=init, teacher=teacher)
    check_clearable(folder)
    augmentation = augmentation_for(splits.train, experiment.augmentation)
    check_fit(
        net,
        splits,
        experiment.config,
        augmentation=augmentation,
        teacher=teacher,
        provenance=_provenance(experiment, "", init, teacher),
    )


def summary(
    experiment: Experiment, splits: DataSplits, bundle: Bundle, report: Report | SegmentationReport
) -> str:
    """What was done and what came out, for anyone."""
    config, found, classes = experiment.config, "", ""
    if isinstance(report, SegmentationReport):
        found = _maps_in_words(report)
        classes = f"\nIntersection over union in % of each class:\n{report.class_table()}\n"
    else:
        found = _labels_in_words(report)
    chosen = f"chosen on {len(splits.val)} validation images" if len(splits.val) else "left as it ended"
    return (
        f"{_net_in_words(experiment)} was trained for {config.epochs} epoch{'s' * (config.epochs != 1)} on "
        f"{len(splits.train)} images of "
        f"{splits.name} ({len(splits.class_names[0])} classes), {chosen} and tested on {report.count} others "
        "that it had never seen.\n"
        f"{found}\n\n"
        f"{report.table()}\n{classes}"
    )


def _labels_in_words(report: Report) -> str:
    first, last = report.stages[0], report.stages[-1]
    if len(report.stages) == 1:
        return f"It is right on {100 * last.top1:.1f} % of them."
    return (
        f"Stage 1 is right on {100 * first.top1:.1f} % of them, the last stage on {100 * last.top1:.1f} %, "
        f"with {last.macs / first.macs:.1f} times the multiply-adds."
    )


def _maps_in_words(report: SegmentationReport) -> str:
    first, last = report.stages[0], report.stages[-1]
    if len(report.stages) == 1:
        return f"Its label maps reach a mean IoU of {100 * last.mean_iou:.1f} %."
    return (
        f"The label maps of stage 1 reach a mean IoU of {100 * first.mean_iou:.1f} %, those of the last "
        f"stage {100 * last.mean_iou:.1f} %, with {last.macs / first.macs:.1f} times the multiply-adds."
    )


def _reporter(experiment: Experiment, splits: DataSplits, quiet: bool) -> Reporter:
    return Reporter(False if quiet else None, title=f"{_net_in_words(experiment)} on {splits.name}")


def _net_in_words(experiment: Experiment) -> str:
    if experiment.stages is None:
        return experiment.net
    numbers = ", ".join(map(str, experiment.stages))
    return f"Stage{'s' * (len(experiment.stages) != 1)} {numbers} of {experiment.net} alone"
