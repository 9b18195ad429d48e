"""The training loop, on Fabric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anytimenet.core.errors import TrainingError
from anytimenet.costs import stage_costs
from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes import RunFacts, Teacher
from anytimenet.tasks import Task
from anytimenet.training.config import TrainConfig, TrainResult
from anytimenet.training.launching import launch
from anytimenet.training.logs import RunLog
from anytimenet.training.regimes import check_regime
from anytimenet.training.reporter import Reporter
from anytimenet.training.run import Run
from anytimenet.training.settling import settled
from anytimenet.training.sync_batchnorm import check_norms
from anytimenet.training.validation import Batches


def train(
    net: AnytimeNet,
    batches: Batches,
    val_batches: Batches | None,
    task: Task,
    config: TrainConfig,
    *,
    folder: Path | None = None,
    resume: bool = False,
    identity: Mapping[str, Any] | None = None,
    reporter: Reporter | None = None,
    fabric: Any = None,
    input_shape: Sequence[int] | None = None,
    teacher: AnytimeNet | Teacher | None = None,
    views: Batches | None = None,
) -> TrainResult:
    """Trains `net` in place and leaves the best validated weights in it.

    Where several processes train together, each calls this with its own share of every batch; all come out
    with equal weights, and the first alone writes and reports.

    Args:
        net: any anytime net; it stays on the device that was trained on.
        batches: training batches.
        val_batches: validation batches; without them the last weights are the best.
        task: owns loss and metric.
        config: optimiser, schedule and scheme.
        folder: where checkpoints and logs go; None writes nothing.
        resume: go on from `folder`'s last checkpoint if there is one.
        identity: what else identifies the run (data fingerprint, net); compared on resume.
        reporter: progress for people; none by default.
        fabric: from `launch(config)`, for a caller who must know the device or the share of this process.
        input_shape: (C, H, W) of the images, for a scheme whose weights follow the cost.
        teacher: a trained net, for a scheme whose stages learn from one.
        views: the training images as heads that learn alone read them, all of them in every process: epoch 0
            as validation does, later epochs augmented. By default `batches`, where one process trains.

    Raises:
        ValueError: if the net does not allow the scheme or the regime, or the scheme misses something.
        TrainingError: for a loss, weights or validation outputs that are not finite (the net holds the best
            weights so far then), a checkpoint of another run or a damaged one, or no space to write.
        SharedTrainingError: the same where another process has stopped.
    """
    if resume and folder is None:
        raise ValueError("resume needs the folder of the run: give out=, or folder= to training.train")
    if len(batches) == 0:
        raise TrainingError("there is no full batch of training images: lower the batch size")
    check_regime(net, config.regime)
    if config.statistics != "running":
        example = next(iter(batches.epoch(0)))[0]
        steps = config.epochs * len(batches)
        config = settled(config, net, steps=steps, example=example, folder=folder if resume else None)
    fabric = fabric or launch(config)
    facts = _facts(net, config, input_shape, teacher)
    if views is None and config.regime != "joint" and fabric.world_size > 1:
        raise ValueError(
            f"regime={config.regime!r} with several processes needs the views of all images: views="
        )
    run = Run(net, batches, val_batches, task, config, folder, identity or {}, fabric, facts)
    try:
        if resume:
            run.resume()
        run.agree()
        run.replace_lost_best()
    except BaseException:
        run.release()
        raise
    reporter = reporter if reporter and run.processes.first else Reporter(False)
    resumed_step = run.position.step if resume else None
    if config.joint_epochs:
        reporter.note(_plan(config, len(batches)))
    try:
        with RunLog(folder if run.processes.first else None, resumed_step=resumed_step) as log:
            if config.regime != "joint" and not run.position.heads_learnt:
                record = run.teach_heads(batches if views is None else views, reporter)
                log.write(0, record)
                reporter.note(_learnt(record))
            if config.joint_epochs:
                reporter.start(run.position.total_steps, run.position.step, config.epochs)
            while run.position.epoch < config.joint_epochs:
                run.train_epoch(reporter)
                record = run.finish_epoch()
                log.write(run.position.step, record)
                reporter.epoch(record["epoch"], record["loss"], record["val"])
            if run.position.epoch < run.position.last_epoch:
                record = run.teach_heads_again(batches if views is None else views, reporter)
                log.write(run.position.step, record)
                reporter.note(_learnt(record))
    except TrainingError:
        run.put_back_best()
        raise
    finally:
        reporter.stop()
        run.release()
    run.processes.wait()  # until all files are written
    return run.result()


def check_scheme(
    net: AnytimeNet,
    config: TrainConfig,
    *,
    input_shape: Sequence[int] | None = None,
    teacher: AnytimeNet | Teacher | None = None,
) -> None:
    """Raises what `train` would refuse with: ValueError for the scheme, SharedTrainingError for the norms."""
    check_regime(net, config.regime)
    config.chosen_scheme.build(net, _facts(net, config, input_shape, teacher))
    if config.sync_batchnorm:
        check_norms(net)


def _plan(config: TrainConfig, steps: int) -> str:
    """What was settled, in one line."""
    batches = "" if config.batch_size is None else f"batches of {config.batch_size}, "
    return (
        f"{batches}{steps} step{'s' * (steps != 1)} an epoch, {steps * config.epochs} in all; "
        f"{config.statistics} BatchNorm statistics"
    )


def _learnt(record: Mapping[str, Any]) -> str:
    """What the heads have learnt alone, in one line."""
    scores = " ".join(f"{100 * score:.1f}" for score in record["val"])
    return f"heads learnt alone  loss {record['loss']:.3f}{'  val % ' * bool(scores)}{scores}"


def _facts(
    net: AnytimeNet,
    config: TrainConfig,
    input_shape: Sequence[int] | None,
    teacher: AnytimeNet | Teacher | None,
) -> RunFacts:
    def macs() -> list[int]:
        assert input_shape is not None
        costs = stage_costs(net, input_shape)
        uncounted = sorted({name for cost in costs for name in cost.uncounted_operators})
        if uncounted:
            raise ValueError(
                f"this scheme weighs the stages by what they cost, and no rule counts {', '.join(uncounted)} "
                "of this net: choose another weighting"
            )
        return [cost.macs for cost in costs]

    return RunFacts(config.seed, None if input_shape is None else macs, teacher)
