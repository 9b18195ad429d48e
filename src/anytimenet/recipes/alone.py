"""The optimality gap: a net's sub-networks trained together, and each of them trained alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anytimenet.core.errors import TrainingError
from anytimenet.core.files.folder_lock import hold
from anytimenet.core.files.regular import read_json
from anytimenet.core.files.writing import write_json
from anytimenet.core.launcher import launched_rank
from anytimenet.core.manifest.run_proof import check_run_folder, holds_run
from anytimenet.data import has_masks
from anytimenet.evaluation import Report, read_report
from anytimenet.evaluation.plots.optimality_gap import plot_optimality_gap
from anytimenet.evaluation.reports.optimality_gap import OptimalityGap
from anytimenet.nets import build_on_meta, create_net
from anytimenet.recipes.experiment import Experiment
from anytimenet.recipes.run_folder import RunFolder
from anytimenet.recipes.runner import run, with_seed
from anytimenet.recipes.start import Start
from anytimenet.schemes import FromLabels


def run_alone(
    experiment: Experiment,
    out: Path | str,
    *,
    stages: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    teacher: Path | str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    quiet: bool = False,
    recipe_name: str = "",
) -> OptimalityGap:
    """Trains the net in `out/joint` and sub-network k by itself, from fresh weights, in `out/alone-k`.

    Every run has the experiment's settings; a single stage learns by the plain loss, whatever the scheme.
    With seeds the runs are `out/joint/seed-N` and so on. The gaps are written to `out/optimality_gap.json`
    and drawn in `out/optimality_gap.png`.

    Args:
        experiment: of the joint net.
        out: a folder; it is made if it is missing.
        stages: which sub-networks to train alone; all by default.
        seeds: repeat everything with each of these seeds; the experiment's own by default.
        teacher: a bundle that the joint net's stages learn from, for a scheme with a given teacher.
        resume: go on; what is finished is not trained again.
        overwrite: replace the runs that are in `out`.
        quiet: no progress.
        recipe_name: remembered in the bundles.

    Raises:
        ValueError: for a stage that the net does not have, masks, trained weights, or stages that learn one
            label level each.
        TrainingError: if `out` holds runs and neither `resume` nor `overwrite` is given, holds anything else,
            or is being written by another run.
    """
    if has_masks(experiment.data):
        raise ValueError(
            "the optimality gap is one of errors on whole images, and this data has masks: train "
            "without recipes.run_alone"
        )
    if experiment.pretrained or experiment.net_arguments.get("pretrained"):
        raise ValueError(
            "the optimality gap compares nets that start from fresh weights, and this experiment starts from "
            "trained ones: leave pretrained=True out, or train without recipes.run_alone"
        )
    targets = experiment.config.chosen_scheme.targets
    if isinstance(targets, FromLabels) and targets.levels != "all":
        raise ValueError(
            "the optimality gap is one of fine labels at every stage, and this scheme lets stages learn one "
            "level each: train without recipes.run_alone, or let stages learn all levels"
        )
    wanted = _check_stages(experiment, stages)
    experiments = {"joint": experiment}
    for stage in wanted:
        kept = stage if experiment.stages is None else experiment.stages[stage - 1]
        # One stage shares with no other: whatever the joint scheme, alone it learns its labels.
        plain = replace(experiment.config, scheme="anytime")
        experiments[f"alone-{stage}"] = replace(experiment, stages=(kept,), config=plain)
    with hold(out) as held:
        out = held.path
        if overwrite and not resume:
            Start.of(experiment, teacher=teacher).check(RunFolder(out))
        _claim(out, list(experiments), resume=resume, overwrite=overwrite, seeds=seeds is not None)
        reports: dict[str, list[Report]] = {name: [] for name in experiments}
        for name, one in experiments.items():
            options = {"quiet": quiet, "recipe_name": recipe_name}
            options |= {"teacher": teacher} if name == "joint" else {}
            for folder, seeded in _seeded(one, RunFolder(out / name), seeds):
                reports[name].append(_report_of(seeded, folder, resume, **options))
        gap = OptimalityGap.of(reports["joint"], {stage: reports[f"alone-{stage}"] for stage in wanted})
        if launched_rank() == 0:
            write_json(out / "optimality_gap.json", gap.to_dict())
            plot_optimality_gap(gap, out / "optimality_gap.png")
        return gap


def _check_stages(experiment: Experiment, stages: Sequence[int] | None) -> tuple[int, ...]:
    net = build_on_meta(lambda: create_net(experiment.net, **experiment.net_arguments))
    if experiment.stages is not None:
        net = net.keep(experiment.stages)
    return tuple(sorted(net.check_stages(stages)))


def _claim(out: Path, names: list[str], *, resume: bool, overwrite: bool, seeds: bool) -> None:
    """Looks at every folder before the first run: nothing may stop the last one after hours."""
    if launched_rank() > 0:
        return
    check_run_folder(out)
    if holds_run(out) or any(out.glob("seed-*")):
        raise TrainingError(f"{out} holds a run of one net already: choose another out=FOLDER")
    there = [out / name for name in names if (out / name).exists()]
    if not resume:
        for folder in there:
            RunFolder(folder).claim(resume=False, overwrite=overwrite)
    if overwrite and not resume:
        # Stages that are not asked for this time would stay beside the new runs as if they belonged to them.
        others = [f for f in out.glob("alone-*") if f.name.removeprefix("alone-").isdigit() and f.is_dir()]
        old = sorted({*there, *others})
        for folder in old:
            if not folder.is_symlink():
                RunFolder(folder).check_clearable()
        for folder in old:
            if folder.is_symlink():
                folder.unlink()
                continue
            RunFolder(folder).clear()
            if folder.name not in names and not any(folder.iterdir()):
                folder.rmdir()
    for folder in there if resume else ():
        if seeds and RunFolder(folder).experiment.exists():
            raise TrainingError(f"{folder} holds a run of one seed: go on without seeds=N")
        if not seeds and any(folder.glob("seed-*")):
            raise TrainingError(f"{folder} holds runs with several seeds: go on with the same seeds=N")


def _seeded(
    experiment: Experiment, folder: RunFolder, seeds: Sequence[int] | None
) -> list[tuple[RunFolder, Experiment]]:
    if seeds is None:
        return [(folder, experiment)]
    return [(folder.seed(seed), with_seed(experiment, seed)) for seed in seeds]


def _report_of(experiment: Experiment, folder: RunFolder, resume: bool, **options: Any) -> Report:
    """The report of one run; a finished one is read, not repeated."""
    if resume and folder.is_finished and _is_of(experiment, folder):
        return read_report(folder.path)
    started = folder.last_checkpoint.exists()
    # What stopped before its first checkpoint left nothing that could be lost.
    nothing = resume and not started and not folder.bundle.exists()
    run(experiment, folder.path, resume=resume and started, overwrite=nothing, **options)
    return read_report(folder.path)


def _is_of(experiment: Experiment, folder: RunFolder) -> bool:
    """Whether `folder` is of exactly this experiment."""
    try:
        theirs = read_json(folder.experiment)
    except (OSError, ValueError):
        return False
    ours = json.loads(json.dumps(experiment.to_dict()))
    theirs = {name: theirs.get(name) for name in ours}  # and not what says where it came from
    for described in (theirs, ours):  # with how many processes it was run is no part of what was run
        for name in ("devices", "sync_batchnorm"):
            described.get("config", {}).pop(name, None)
        described.get("config", {}).setdefault("statistics", "running")  # before there was a choice
    return bool(theirs == ours)
