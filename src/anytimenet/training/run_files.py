"""The checkpoints of one run in its folder: written on the way, read when it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from anytimenet.core.errors import SharedTrainingError, TrainingError
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.finite import not_finite
from anytimenet.training.checkpoints import Checkpoint, check_tensors, gather, restore
from anytimenet.training.logs import notice
from anytimenet.training.position import Position
from anytimenet.training.step import TrainingStep


class RunFiles:
    """`checkpoints/last.safetensors`, from which a run goes on, and `best.safetensors`, weights alone.

    Args:
        folder: of the run; None writes and finds nothing.
        identity: what a resumed run must have in common with the one that it goes on with.
    """

    def __init__(self, folder: Path | None, identity: Mapping[str, Any]) -> None:
        self.folder, self._identity = folder, identity

    @property
    def last(self) -> Path | None:
        """The last checkpoint, if there is one."""
        path = None if self.folder is None else self._path("last")
        return path if path is not None and path.exists() else None

    def save(self, name: str, position: Position, step: TrainingStep) -> None:
        """Writes "last" or "best"; the first process alone does."""
        if self.folder is None or not step.processes.first:
            return
        tensors = gather(step.net, step.optimiser, step.scheme)
        if name == "best":
            tensors = {key: tensor for key, tensor in tensors.items() if key.startswith("net.")}
        progress = position.progress()
        Checkpoint(position.epoch, position.batch, self._identity, progress, tensors).save(self._path(name))

    def restore_last(self, position: Position, step: TrainingStep) -> Mapping[str, Any]:
        """Goes back to the last checkpoint; returns what it says of the best epoch, without a score if
        there is none.

        Raises:
            SharedTrainingError: if it is damaged, of another run or not finite; with what can still be done.
        """
        path = self._path("last")
        try:
            last = Checkpoint.load(path)
            last.check_run(self._identity)
            if last.epoch > position.last_epoch or last.batch >= position.steps_per_epoch:
                raise TrainingError(
                    f"the checkpoint {path} is damaged: this run has no batch {last.batch + 1} of epoch "
                    f"{last.epoch + 1}"
                )
            try:
                restore(last, step.net, step.optimiser, step.scheme)
            except TrainingError as error:
                raise TrainingError(f"the run cannot go on from {path}: {error}") from error
        except TrainingError as error:
            # All processes read the same file.
            raise SharedTrainingError(f"{error}. {self._way_without_last()}") from error
        if not last.hashed and step.processes.first:
            notice(
                f"{path} was written by an older version, without a digest: it is taken as it is; the next "
                "checkpoint will have one"
            )
        position.go_to(last.epoch, last.batch, last.progress)
        best: Mapping[str, Any] = last.progress["best"]
        return best

    def best_weights(self, epoch: int, net: AnytimeNet) -> dict[str, Tensor]:
        """The best weights, which are those of `epoch`.

        Raises:
            TrainingError: with the reason, if they are lost.
        """
        path, state = self._path("best"), net.state_dict()
        best = Checkpoint.load(path)
        best.check_run(self._identity)
        if (best.epoch, best.batch, best.progress["best"]["epoch"]) != (epoch, 0, epoch):
            # Its file is from after the last checkpoint: the same steps will write it again.
            raise TrainingError(f"{path} is of another epoch")
        check_tensors(best.weights, state)
        weights = {name: best.weights[name] for name in state}
        broken = not_finite({name: weights[name] for name, _ in net.named_parameters()})
        if broken is not None:
            raise TrainingError(f"{broken} in {path} is not finite")
        return weights

    def broken(self, what: str, best_epoch: int | None, lr: float) -> SharedTrainingError:
        """The error of a run that came to NaN or infinity: what of it is left, and what helps."""
        milder = f"with a lower lr (it was {lr:g}), more warmup or a clip_norm"
        kept = f"the weights of epoch {best_epoch}, the best so far"
        there_is_best = best_epoch is not None
        if (start := self.last) is not None:
            files = f"the last good checkpoint is {start}"
            if there_is_best:
                start = self._path("best")
                files += f", and {start} holds {kept}"
            return SharedTrainingError(
                f"{what}; {files}. The same settings would end here again: start another run {milder}, in "
                f"another out; it may begin with these weights, with init={str(start)!r}"
            )
        left = f"the net holds {kept}" if there_is_best else "there is no checkpoint yet"
        place = "" if self.folder is None else ", in another out"
        return SharedTrainingError(f"{what}; {left}. Train again {milder}{place}")

    def _way_without_last(self) -> str:
        """What can still be done where the last checkpoint is of no use."""
        best = self._path("best")
        try:
            checkpoint = Checkpoint.load(best)
        except TrainingError:
            return "Start again in another out"
        return (
            f"Start again in another out; the run may begin with the weights of epoch {checkpoint.epoch}, "
            f"which are whole: init={str(best)!r}"
        )

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / "checkpoints" / f"{name}.safetensors"
