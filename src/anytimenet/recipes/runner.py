"""Runs an experiment from its data to a saved bundle, a report and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anytimenet.bundle import Bundle
from anytimenet.bundle.counted import counted_costs
from anytimenet.core import checks
from anytimenet.core.files.folder_lock import HeldFolder, hold
from anytimenet.core.files.writing import write_text
from anytimenet.core.launcher import launched_count, launched_rank
from anytimenet.data import MaskSet
from anytimenet.evaluation import Report, most_varied, read_any_report
from anytimenet.recipes.experiment import Experiment
from anytimenet.recipes.experiment_file import StartedExperiment
from anytimenet.recipes.run_folder import RunFolder
from anytimenet.recipes.start import Start
from anytimenet.recipes.summary import net_name, summary
from anytimenet.training import Reporter, wait_for_processes
from anytimenet.workflows import draw_masks, fit
from anytimenet.workflows.evaluation import Evaluation
from anytimenet.workflows.reading import Reading


@dataclass(frozen=True)
class Run:
    """What an experiment leaves behind.

    Attributes:
        folder: holds `bundle/`, `report.json`, `report.csv`, `curve.png`, `summary.txt`, `log.jsonl`, and for
            segmentation `masks.png`, one test image at every stage.
        bundle: the trained net.
        report: its stages on the test images.
    """

    folder: Path
    bundle: Bundle
    report: Report


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
    """Trains and evaluates one experiment; everything lands in `out`.

    Where several processes train together the first one claims the folder, evaluates and writes; the others
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
    checks.instance(experiment, Experiment, "experiment", "recipe(NAME).build()")
    if not isinstance(out, HeldFolder):
        out = checks.path(out, "out")
    for name, given in (("init", init), ("teacher", teacher)):
        checks.optional(given, name, checks.path)
    for name, switch in (("resume", resume), ("overwrite", overwrite), ("quiet", quiet)):
        checks.flag(switch, name)
    checks.texts((recipe_name,), "recipe_name")
    with hold(out) as held:
        folder = RunFolder(held.path)
        folder.claim(resume=resume, overwrite=overwrite)
        start = Start.of(experiment, init, teacher)
        if overwrite and not resume:
            start.check(folder)
            folder.clear()
        title = f"{net_name(experiment)} on {start.splits.name}"
        reporter = Reporter(False if quiet else None, title=title)
        bundle = _train(start, held, folder, resume, reporter, recipe_name)
        report = _evaluate(start, bundle, folder) if launched_rank() == 0 else None
        wait_for_processes(launched_count())
        return Run(folder.path, bundle, report or read_any_report(folder.path))


def _train(
    start: Start, held: HeldFolder, folder: RunFolder, resume: bool, reporter: Reporter, recipe_name: str
) -> Bundle:
    """The trained net; experiment.json says what it is from the start."""
    experiment, first = start.experiment, launched_rank() == 0
    started = StartedExperiment(experiment, recipe_name, start.init, start.teacher)
    # A resumed run may turn out to be another one: what is there stays until training agrees.
    fresh = first and not (resume and folder.experiment.exists())
    if fresh:
        started.write(folder.experiment)
    try:
        bundle = fit(
            start.net,
            start.splits,
            config=experiment.config,
            augmentation=start.augmentation,
            mixing=experiment.mixing,
            workers=experiment.workers,
            out=held,
            resume=resume,
            reporter=reporter,
            provenance=start.provenance(recipe_name),
            teacher=start.teacher,
            init=start.init,
        )
    except ValueError:
        # Refused before its first step: nothing may be in the way of the corrected command.
        if fresh and not folder.log.exists():
            folder.experiment.unlink(missing_ok=True)
        raise
    if first:
        started.write(folder.experiment)
    return bundle


def _evaluate(start: Start, bundle: Bundle, folder: RunFolder) -> Report:
    """The report on the test images; it, the bundle and the summary are written."""
    reading = Reading(bundle, start.splits, workers=start.experiment.workers)
    # Training has not changed what the net is made of: its costs are those that `fit` counted.
    report = Evaluation(reading, costs=counted_costs(bundle.manifest)).report()
    if isinstance(start.splits.test, MaskSet):
        draw_masks(bundle, start.splits.test, most_varied(start.splits.test.masks), folder.masks)
    folder.write_results(bundle, report)
    write_text(folder.summary, summary(start.experiment, start.splits, report))
    return report


def run_seeds(experiment: Experiment, out: Path | str, seeds: Sequence[int], **options: Any) -> list[Run]:
    """The experiment once per seed, in `out/seed-N`; the seed draws weights, order and validation split."""
    resume, overwrite = options.get("resume", False), options.get("overwrite", False)
    with hold(out) as held:
        folder = RunFolder(held.path)
        folder.claim(resume=resume, overwrite=overwrite, seeds=True)
        if overwrite and not resume:
            first = with_seed(experiment, seeds[0])
            Start.of(first, options.get("init"), options.get("teacher")).check(folder)
            folder.clear()
        return [run(with_seed(experiment, seed), folder.seed(seed).path, **options) for seed in seeds]


def with_seed(experiment: Experiment, seed: int) -> Experiment:
    """The experiment with another seed for weights, order and validation split."""
    return replace(
        experiment,
        config=replace(experiment.config, seed=seed),
        options=replace(experiment.options, seed=seed),
    )
