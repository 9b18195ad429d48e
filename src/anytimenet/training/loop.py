"""The training loop, on Fabric."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from anytimenet.core.errors import TrainingError, require
from anytimenet.nets.contract import AnytimeNet
from anytimenet.schemes import BuiltScheme, scheme_preset
from anytimenet.tasks import Task
from anytimenet.training.checkpoints import Checkpoint, gather, restore
from anytimenet.training.config import TrainConfig
from anytimenet.training.logs import Reporter, RunLog
from anytimenet.training.schedule import learning_rate


class Batches(Protocol):
    """What the loop reads: `data.Loader` is one."""

    def __len__(self) -> int:
        """Batches in an epoch."""

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
        """The batches of an epoch from `start` on; a pure function of its arguments."""


@dataclass
class TrainResult:
    """What training leaves behind; the net itself holds the best weights.

    Attributes:
        best_epoch: the epoch, counted from 1, whose weights were chosen.
        val_scores: validation score of each stage with those weights; empty without validation images.
        last_val_scores: the same after the last epoch.
        last_weights: the state_dict after the last epoch.
        history: one record per epoch.
    """

    best_epoch: int
    val_scores: list[float]
    last_val_scores: list[float]
    last_weights: dict[str, Tensor]
    history: list[dict[str, Any]] = field(default_factory=list)


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
) -> TrainResult:
    """Trains `net` in place and leaves the best validated weights in it.

    Args:
        net: any anytime net; it stays on the device that was trained on.
        batches: training batches.
        val_batches: validation batches; without them the last weights are the best.
        task: owns loss and metric.
        config: optimiser, schedule and scheme.
        folder: where checkpoints and logs go; None writes nothing.
        resume: go on from `folder`'s last checkpoint if there is one.
        identity: what else identifies the run (data fingerprint, net); compared on resume.
        reporter: progress for people.

    Raises:
        TrainingError: for a loss that is not finite, a checkpoint of another run, or no space to write.
    """
    run = _Run(net, batches, val_batches, task, config, folder, {**config.to_dict(), **(identity or {})})
    if resume:
        run.resume()
    reporter = reporter or Reporter(quiet=True)
    resumed_step = run.step if resume else None
    reporter.start(run.total_steps, run.step, config.epochs)
    try:
        with RunLog(folder, resumed_step=resumed_step) as log:
            while run.epoch < config.epochs:
                run.train_epoch(reporter)
                record = run.finish_epoch()
                log.write(run.step, record)
                reporter.epoch(record["epoch"], record["loss"], record["val"])
    finally:
        reporter.stop()
    return run.result()


def fabric_device(config: TrainConfig) -> tuple[torch.device, Any]:
    """The device of `config` and the Fabric that serves it.

    Raises:
        TrainingError: if "cuda" is asked for and there is none.
    """
    check_device(config.device)
    fabric_module = require("lightning_fabric", "train")
    accelerator = (
        ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    )
    precision = {"32": "32-true", "bf16": "bf16-mixed"}[config.precision]
    fabric = fabric_module.Fabric(accelerator=accelerator, devices=1, precision=precision)
    return fabric.device, fabric


def check_device(name: str) -> None:
    """Raises TrainingError if `name` asks for CUDA and this machine shows none."""
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise TrainingError(f"device {name!r} was asked for and this machine shows none; use --device cpu")


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
        identity: dict[str, Any],
    ) -> None:
        if len(batches) == 0:
            raise TrainingError("there is no full batch of training images: lower the batch size")
        device, self.fabric = fabric_device(config)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.net = net.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.batches, self.val_batches = batches, val_batches
        self.task, self.config, self.folder, self.identity = task, config, folder, identity
        self.scheme: BuiltScheme = scheme_preset(config.scheme).scheme.build(net).to(device)
        self.optimiser = torch.optim.SGD(
            net.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.epoch, self.batch = 0, 0
        self.losses: dict[int, float] = {}
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"epoch": 0, "score": -math.inf, "val": []}
        self.best_weights: dict[str, Tensor] | None = None

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
                self.losses[stage] = self.losses.get(stage, 0.0) + loss
            self.batch += 1
            reporter.step()
            every = self.config.checkpoint_steps
            if every and self.step % every == 0 and self.batch < len(self.batches):
                self._save("last")

    def finish_epoch(self) -> dict[str, Any]:
        """Validates, chooses, writes the checkpoint; returns the epoch's record."""
        steps = len(self.batches)
        losses = [total / steps for _, total in sorted(self.losses.items())]
        scores = self._validate()
        number = self.epoch + 1
        score = (scores[-1] if self.config.select == "last" else sum(scores) / len(scores)) if scores else 0.0
        record = {
            "epoch": number,
            "lr": learning_rate(self.config, self.step - 1, steps),
            "loss": sum(losses),
            "losses": losses,
            "val": scores,
        }
        self.history.append(record)
        self.epoch, self.batch, self.losses = self.epoch + 1, 0, {}
        # A tie goes to the later epoch, which has trained longer.
        if score >= self.best["score"]:
            self.best = {"epoch": number, "score": score, "val": scores}
            self.best_weights = copy.deepcopy(self.net.state_dict())
            self._save("best")
        self._save("last")
        return record

    def resume(self) -> None:
        """Goes back to the last checkpoint, if there is one."""
        if self.folder is None or not self._path("last").exists():
            return
        last = Checkpoint.load(self._path("last"))
        last.check_run(self.identity)
        restore(last, self.net, self.optimiser, self.scheme)
        self.epoch, self.batch = last.epoch, last.batch
        self.history = list(last.progress["history"])
        self.losses = {int(stage): total for stage, total in last.progress["losses"].items()}
        best = last.progress["best"]
        self.best = best if best["epoch"] else self.best
        if self.best["epoch"]:
            # A best file from after the last checkpoint will be written again by the same steps.
            best_file = Checkpoint.load(self._path("best"))
            if best_file.progress["best"]["epoch"] == self.best["epoch"]:
                weights = {k.removeprefix("net."): v for k, v in best_file.tensors.items()}
                self.best_weights = {name: weights[name] for name in self.net.state_dict()}

    def result(self) -> TrainResult:
        """Puts the best weights into the net and sums the run up."""
        last_weights = copy.deepcopy(self.net.state_dict())
        if self.best_weights is not None:
            self.net.load_state_dict(self.best_weights)
        self.net.eval()
        last_scores = self.history[-1]["val"] if self.history else []
        return TrainResult(self.best["epoch"], self.best["val"], last_scores, last_weights, self.history)

    def _train_step(self, x: Tensor, labels: tuple[Tensor, ...]) -> dict[int, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, self.step, len(self.batches))
        self.optimiser.zero_grad(set_to_none=True)
        with self._autocast():
            losses = self.scheme.step(self.net, x, labels, self.task.loss)
        # One transfer for all stages: on an accelerator each one would wait for the device.
        values = dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))
        self._check_finite(values)
        if self.config.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.net.parameters(), self.config.clip_norm)
        self.optimiser.step()
        return values

    @torch.inference_mode()
    def _validate(self) -> list[float]:
        if self.val_batches is None:
            return []
        self.net.eval()
        meter = self.task.meter()
        for x, labels in self.val_batches.epoch(0):
            with self._autocast():
                outputs = self.net(x)
            for stage, output in enumerate(outputs, 1):
                meter.update(stage, output, labels)
        scores = meter.scores()
        return [scores[stage] for stage in sorted(scores)]

    def _check_finite(self, losses: Mapping[int, float]) -> None:
        for stage, loss in losses.items():
            if not math.isfinite(loss):
                good = "there is no checkpoint yet"
                if self.folder is not None and self._path("last").exists():
                    good = f"the last good checkpoint is {self._path('last')}"
                raise TrainingError(
                    f"the loss of stage {stage} is {loss} in step {self.step + 1} "
                    f"(epoch {self.epoch + 1}); {good}. Lower the learning rate, add warm-up or clipping"
                )

    def _save(self, name: str) -> None:
        if self.folder is None:
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
        return self.fabric.autocast()
