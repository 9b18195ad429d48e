"""The training loop, on Fabric."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anytimenet.core.errors import NotFiniteError, SharedTrainingError, TrainingError, require
from anytimenet.costs import stage_costs
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.finite import not_finite
from anytimenet.nets.width.memory_layout import contiguous, needs_contiguous
from anytimenet.schemes import BuiltScheme, RunFacts
from anytimenet.tasks import Task
from anytimenet.training.batches import Batches
from anytimenet.training.checkpoints import Checkpoint, check_tensors, gather, restore
from anytimenet.training.config import TrainConfig
from anytimenet.training.gradient_sync import GradientSync
from anytimenet.training.launching import (
    check_can_start,
    check_device,
    fabric_options,
    leave_group_at_exit,
    quiet_fabric,
    wrapper_options,
)
from anytimenet.training.logs import RunLog, notice
from anytimenet.training.processes import Processes, exchanging
from anytimenet.training.reporter import Reporter
from anytimenet.training.result import TrainResult
from anytimenet.training.schedule import learning_rate
from anytimenet.training.settling import settled
from anytimenet.training.statistics import other_statistics, reestimate_statistics
from anytimenet.training.sync_batchnorm import check_norms, to_plain, to_synchronised
from anytimenet.training.validation import check_answers, validate

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)

__all__ = ["Batches", "TrainResult", "check_device", "check_scheme", "launch", "train"]


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
    teacher: AnytimeNet | None = None,
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

    Raises:
        ValueError: if the net does not allow the scheme, or the scheme misses something.
        TrainingError: for a loss, weights or validation outputs that are not finite (the net holds the best
            weights so far then), a checkpoint of another run or a damaged one, or no space to write.
        SharedTrainingError: the same where another process has stopped.
    """
    if resume and folder is None:
        raise ValueError("resume needs the folder of the run: give out=, or folder= to training.train")
    if len(batches) == 0:
        raise TrainingError("there is no full batch of training images: lower the batch size")
    if config.statistics != "running":
        example = next(iter(batches.epoch(0)))[0]
        steps = config.epochs * len(batches)
        config = settled(config, net, steps=steps, example=example, folder=folder if resume else None)
    fabric = fabric or launch(config)
    facts = _facts(net, config, input_shape, teacher)
    run = _Run(net, batches, val_batches, task, config, folder, identity or {}, fabric, facts)
    try:
        if resume:
            run.resume()
        run.agree()
        run.replace_lost_best()
    except BaseException:
        run.release()
        raise
    reporter = reporter if reporter and run.processes.first else Reporter(False)
    resumed_step = run.step if resume else None
    reporter.note(_plan(config, len(batches)))
    reporter.start(run.total_steps, run.step, config.epochs)
    try:
        with RunLog(folder if run.processes.first else None, resumed_step=resumed_step) as log:
            while run.epoch < config.epochs:
                run.train_epoch(reporter)
                record = run.finish_epoch()
                log.write(run.step, record)
                reporter.epoch(record["epoch"], record["loss"], record["val"])
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
    teacher: AnytimeNet | None = None,
) -> None:
    """Raises what `train` would refuse with: ValueError for the scheme, SharedTrainingError for the norms."""
    config.chosen_scheme.build(net, _facts(net, config, input_shape, teacher))
    if config.sync_batchnorm:
        check_norms(net)


def launch(config: TrainConfig) -> Any:
    """A Fabric with all processes of the run started: its `device`, `global_rank` and `world_size` are known.

    A launcher such as torchrun has started them already. Otherwise the command of this process is run again
    `devices - 1` times, from its beginning, and this call returns in each process once all have come here.

    Raises:
        TrainingError: if there is no such device, or the processes cannot be started.
    """
    options = fabric_options(config)
    check_can_start(config.devices)
    fabric_module = require("lightning_fabric", "train")
    with quiet_fabric():
        if options["devices"] * options["num_nodes"] > 1:
            strategies = require("lightning_fabric.strategies", "train")
            # The first process may judge a finished run for long while the others wait.
            options["strategy"] = strategies.DDPStrategy(timeout=timedelta(hours=2), **wrapper_options())
        fabric = fabric_module.Fabric(**options)
        if os.environ.get("LT_CLI_USED") != "1":  # `fabric run` has launched already and forbids it
            fabric.launch()
    if fabric.world_size > 1:
        leave_group_at_exit()
    return fabric


def _plan(config: TrainConfig, steps: int) -> str:
    """What was settled, in one line."""
    batches = "" if config.batch_size is None else f"batches of {config.batch_size}, "
    return (
        f"{batches}{steps} step{'s' * (steps != 1)} an epoch, {steps * config.epochs} in all; "
        f"{config.statistics} BatchNorm statistics"
    )


def _facts(
    net: AnytimeNet, config: TrainConfig, input_shape: Sequence[int] | None, teacher: AnytimeNet | None
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


def _sgd(net: AnytimeNet, config: TrainConfig) -> torch.optim.SGD:
    optimiser = torch.optim.SGD(
        net.parameters() if config.decay_norms_and_biases else _decayed_apart(net),
        lr=config.lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )
    if config.momentum:
        # The fused kernel wants a buffer for every parameter or for none, and where stages are drawn some
        # parameters get their first gradient later than others. From zero the first step is the same.
        for parameter in net.parameters():
            if parameter.requires_grad:
                optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser


def _decayed_apart(net: AnytimeNet) -> list[dict[str, Any]]:
    """The parameters in two groups: what decays, and norms and biases, which do not."""
    spared = {
        id(parameter)
        for module in net.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim < 2 or name == "bias" or isinstance(module, _NORMS)
    }
    decaying = [parameter for parameter in net.parameters() if id(parameter) not in spared]
    others = [parameter for parameter in net.parameters() if id(parameter) in spared]
    return [{"params": decaying}, {"params": others, "weight_decay": 0.0}]


class _Run:
    """One run's moving parts, and its position."""

    def __init__(
        self,
        net: AnytimeNet,
        batches: Batches,
        val_batches: Batches | None,
        task: Task,
        config: TrainConfig,
        folder: Path | None,
        identity: Mapping[str, Any],
        fabric: Any,
        facts: RunFacts,
    ) -> None:
        self.fabric, device = fabric, fabric.device
        self.processes = Processes(fabric.global_rank, fabric.world_size, device)
        self.contiguous = needs_contiguous(net, device)
        last = config.channels_last and not self.contiguous
        layout = torch.channels_last if last else torch.contiguous_format
        self.net = net.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.batches, self.val_batches = batches, val_batches
        self.task, self.config, self.folder = task, config, folder
        self.identity = {**config.identity, **identity}
        self.scheme: BuiltScheme = config.chosen_scheme.build(net, facts).to(device)
        if config.sync_batchnorm:  # nothing below refuses the run: `release` undoes it
            to_synchronised(net)
        self.sync = GradientSync(net, self.scheme, self.processes, fabric.strategy.setup_module)
        self.optimiser = _sgd(net, config)
        self.epoch, self.batch = 0, 0
        # Sum of the losses of each stage in this epoch, and in how many steps it ran.
        self.losses: dict[int, tuple[float, int]] = {}
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"epoch": 0, "score": -math.inf, "val": []}
        self.best_weights: dict[str, Tensor] | None = None
        self.lost_best = False

    @property
    def step(self) -> int:
        """Steps done since the beginning of the run."""
        return self.epoch * len(self.batches) + self.batch

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.epochs * len(self.batches)

    def train_epoch(self, reporter: Reporter) -> None:
        """The rest of the current epoch."""
        self.net.train()
        for x, labels in self.batches.epoch(self.epoch, self.batch):
            for stage, loss in self._train_step(x, labels).items():
                total, count = self.losses.get(stage, (0.0, 0))
                self.losses[stage] = total + loss, count + 1
            self.batch += 1
            reporter.step()
            every = self.config.checkpoint_steps
            if every and self.step % every == 0 and self.batch < len(self.batches):
                self.processes.average_buffers(self.net, self.scheme)
                self._check_weights()
                self._save("last")

    def finish_epoch(self) -> dict[str, Any]:
        """Validates, chooses, writes the checkpoint; returns the epoch's record."""
        steps = len(self.batches)
        losses = [self._mean_loss(stage) for stage in range(1, self.net.num_stages + 1)]
        self._check_weights()
        self._estimate_missing()
        self.processes.average_buffers(self.net, self.scheme)
        number = self.epoch + 1
        with self._judged():
            scores = self._validate()
            score = self._score(scores) if scores else 0.0
            record = {
                "epoch": number,
                "lr": learning_rate(self.config, self.step - 1, steps),
                "loss": sum(loss for loss in losses if loss is not None),
                "losses": losses,
                "val": scores,
            }
            self.history.append(record)
            self.epoch, self.batch, self.losses = self.epoch + 1, 0, {}
            # A tie goes to the later epoch, which has trained longer.
            if score >= self.best["score"]:
                self._keep_best({"epoch": number, "score": score, "val": scores})
        self._save("last")
        return record

    def _keep_best(self, best: dict[str, Any]) -> None:
        """Keeps what is in the net, weights and statistics, as the best so far."""
        self.best = best
        self.best_weights = copy.deepcopy(self.net.state_dict())
        self._save("best")

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """The net as it is judged: with precise statistics, where it is trained with running ones."""
        if self.config.statistics != "precise":
            yield
            return
        with other_statistics(self.net):
            self._estimate(self.net.stages_to_estimate())
            self.processes.average_buffers(self.net)
            yield

    def resume(self) -> None:
        """Goes back to the last checkpoint, if there is one."""
        if self.folder is None or not self._path("last").exists():
            return
        last = self._restored()
        self.epoch, self.batch = last.epoch, last.batch
        self.history = list(last.progress["history"])
        self.losses = {int(stage): tuple(seen) for stage, seen in last.progress["losses"].items()}
        best = last.progress["best"]
        if not best["epoch"]:
            return
        weights, lost = self._weights_of_best(best["epoch"])
        if weights is not None:
            self.best, self.best_weights = best, weights
            return
        self._say(
            f"the best weights so far, those of epoch {best['epoch']}, are lost ({lost}): training goes on, "
            "and the best of what it has from here on is kept"
        )
        self.lost_best = True

    def replace_lost_best(self) -> None:
        """Takes the last epoch's weights for the best, which are lost, where a run goes on from its end.

        Not before all processes have read the files that this may replace.
        """
        if self.lost_best and self.batch == 0 and self.history:
            scores = self.history[-1]["val"]
            score = self._score(scores) if scores else 0.0
            with self._judged():
                self._keep_best({"epoch": self.epoch, "score": score, "val": scores})

    def _restored(self) -> Checkpoint:
        """The last checkpoint, which the run has gone back to."""
        path = self._path("last")
        try:
            last = Checkpoint.load(path)
            last.check_run(self.identity)
            if last.epoch > self.config.epochs or last.batch >= len(self.batches):
                raise TrainingError(
                    f"the checkpoint {path} is damaged: this run has no batch {last.batch + 1} of epoch "
                    f"{last.epoch + 1}"
                )
            try:
                restore(last, self.net, self.optimiser, self.scheme)
            except TrainingError as error:
                raise TrainingError(f"the run cannot go on from {path}: {error}") from error
        except TrainingError as error:
            # All processes read the same file.
            raise SharedTrainingError(f"{error}. {self._way_without_last()}") from error
        if not last.hashed:
            self._say(
                f"{path} was written by an older version, without a digest: it is taken as it is; the next "
                "checkpoint will have one"
            )
        return last

    def _way_without_last(self) -> str:
        """What can still be done where the last checkpoint is of no use."""
        best = self._path("best")
        try:
            found = Checkpoint.load(best)
        except TrainingError:
            return "Start again in another out"
        return (
            f"Start again in another out; the run may begin with the weights of epoch {found.epoch}, which "
            f"are whole: init={str(best)!r}"
        )

    def _weights_of_best(self, epoch: int) -> tuple[dict[str, Tensor] | None, str]:
        """The best weights, which are those of `epoch`, or None and why they are not there."""
        try:
            best = Checkpoint.load(self._path("best"))
            best.check_run(self.identity)
            if (best.epoch, best.batch, best.progress["best"]["epoch"]) != (epoch, 0, epoch):
                # Its file is from after the last checkpoint: the same steps will write it again.
                raise TrainingError(f"{self._path('best')} is of another epoch")
            check_tensors(best.weights, self.net.state_dict())
            weights = {name: best.weights[name] for name in self.net.state_dict()}
            broken = not_finite({name: weights[name] for name, _ in self.net.named_parameters()})
            if broken is not None:
                raise TrainingError(f"{broken} in {self._path('best')} is not finite")
        except TrainingError as error:
            return None, str(error)
        return weights, ""

    def agree(self) -> None:
        """Gives every process the weights and the generators of the first.

        Raises:
            SharedTrainingError: if they would start from different steps.
        """
        mine, first = torch.tensor(self.step), torch.tensor(self.step)
        self.processes.spread([first])
        if self.processes.total((mine != first).float()):
            raise SharedTrainingError(
                f"the processes read different checkpoints in {self.folder}: take out=FOLDER on a disk that "
                "all of them share"
            )
        for module in (self.net, self.scheme):
            self.processes.spread([*module.parameters(), *module.buffers()])
        self.processes.spread_generators()

    def release(self) -> None:
        """Gives the net back as it came: with plain BatchNorms."""
        if self.config.sync_batchnorm:
            to_plain(self.net)

    def put_back_best(self) -> None:
        """Puts the best weights so far into the net, if there are any."""
        if self.best_weights is not None:
            self.net.load_state_dict(self.best_weights)
        self.net.eval()

    def result(self) -> TrainResult:
        """Puts the best weights into the net and sums the run up."""
        with self._judged():
            last_weights = copy.deepcopy(self.net.state_dict())
        self.put_back_best()
        last_scores = self.history[-1]["val"] if self.history else []
        return TrainResult(self.best["epoch"], self.best["val"], last_scores, last_weights, self.history)

    def _train_step(self, x: Tensor, labels: tuple[Tensor, ...]) -> dict[int, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, self.step, len(self.batches))
        self.optimiser.zero_grad(set_to_none=True)
        x = contiguous(x) if self.contiguous else x
        with exchanging(), self._autocast(), self.sync.step(x) as net:
            losses = self.scheme.step(net, x, labels, self.task.loss, self.processes.mean)
        # One transfer for all stages: on an accelerator each one would wait for the device.
        values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
        self._check_finite(values)
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip_norm)
        self.optimiser.step()
        return values

    def _score(self, scores: Sequence[float]) -> float:
        """What chooses the best epoch. Scores are of fine labels, which not every stage may learn."""
        if self.config.select == "last":
            return scores[-1]
        learnt = [s for stage, s in enumerate(scores, 1) if self.scheme.targets.learns_fine_labels(stage)]
        return sum(learnt) / len(learnt)

    def _mean_loss(self, stage: int) -> float | None:
        """Over the steps of this epoch in which the stage ran; None if it never did."""
        total, count = self.losses.get(stage, (0.0, 0))
        return total / count if count else None

    def _estimate_missing(self) -> None:
        """Of a net that does not track them: without, it could neither be validated nor used."""
        missing = self.net.stages_without_statistics()
        if missing:
            self._estimate(missing)

    def _estimate(self, stages: Sequence[int]) -> None:
        """Statistics of `stages` over the first training batches; at most all of an epoch."""
        count = self.config.statistics_batches
        try:
            with self._autocast():
                reestimate_statistics(self.net, self.batches, stages=stages, num_batches=count)
        except NotFiniteError as error:
            raise self._broken(f"after epoch {self.epoch + 1} {error}") from error

    def _validate(self) -> list[float]:
        try:
            if self.val_batches is None:
                check_answers(self.net, self.batches, self.processes, self._autocast)
                return []
            return validate(self.net, self.val_batches, self.task, self.processes, self._autocast)
        except NotFiniteError as error:
            raise self._broken(f"after epoch {self.epoch + 1} {error}") from error

    def _check_finite(self, losses: Mapping[int, float]) -> None:
        for stage, loss in losses.items():
            if not math.isfinite(loss):
                raise self._broken(
                    f"the loss of stage {stage} is {loss} in step {self.step + 1} (epoch {self.epoch + 1})"
                )

    def _check_weights(self) -> None:
        """What a step has broken shows in no loss before the next one."""
        found = not_finite(dict(self.net.named_parameters()))
        if found is not None:
            raise self._broken(
                f"{found} holds numbers that are not finite after step {self.step} (epoch {self.epoch + 1})"
            )

    def _broken(self, what: str) -> SharedTrainingError:
        """The error of a run that came to NaN or infinity: what of it is left, and what helps."""
        milder = f"with a lower lr (it was {self.config.lr:g}), more warmup or a clip_norm"
        kept = f"the weights of epoch {self.best['epoch']}, the best so far"
        if self.folder is not None and self._path("last").exists():
            files = f"the last good checkpoint is {self._path('last')}"
            start = self._path("last")
            if self.best["epoch"]:
                start = self._path("best")
                files += f", and {start} holds {kept}"
            return SharedTrainingError(
                f"{what}; {files}. The same settings would end here again: start another run {milder}, in "
                f"another out; it may begin with these weights, with init={str(start)!r}"
            )
        left = f"the net holds {kept}" if self.best["epoch"] else "there is no checkpoint yet"
        place = "" if self.folder is None else ", in another out"
        return SharedTrainingError(f"{what}; {left}. Train again {milder}{place}")

    def _say(self, text: str) -> None:
        """Tells people what they must know, also where progress is off."""
        if self.processes.first:
            notice(text)

    def _save(self, name: str) -> None:
        if self.folder is None or not self.processes.first:
            return
        progress = {"best": self._finite_best(), "history": self.history, "losses": self.losses}
        tensors = gather(self.net, self.optimiser, self.scheme)
        if name == "best":
            tensors = {key: tensor for key, tensor in tensors.items() if key.startswith("net.")}
        Checkpoint(self.epoch, self.batch, self.identity, progress, tensors).save(self._path(name))

    def _finite_best(self) -> dict[str, Any]:
        return self.best if self.best["epoch"] else {**self.best, "score": None}

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / "checkpoints" / f"{name}.safetensors"

    def _autocast(self) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self.fabric.autocast()
        return context
