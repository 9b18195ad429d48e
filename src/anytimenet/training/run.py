"""One run: its epochs, their validation, and the weights that it keeps."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anytimenet.core.errors import NotFiniteError, SharedTrainingError, TrainingError
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.finite import not_finite
from anytimenet.schemes import RunFacts
from anytimenet.tasks import Task
from anytimenet.training.cascade_first import CascadeFirst
from anytimenet.training.cascades import has_cascade, heads_of
from anytimenet.training.config import TrainConfig, TrainResult, learning_rate
from anytimenet.training.feature_cache import Room, features_of
from anytimenet.training.features import Progress
from anytimenet.training.heads_first import HeadsFirst
from anytimenet.training.logs import notice
from anytimenet.training.position import Position
from anytimenet.training.reporter import Reporter
from anytimenet.training.run_files import RunFiles
from anytimenet.training.statistics import other_statistics, reestimate_statistics
from anytimenet.training.step import TrainingStep
from anytimenet.training.sync_batchnorm import to_plain
from anytimenet.training.validation import Batches, check_answers, validate


class Run:
    """One run, from its first step or its last checkpoint to its result.

    Attributes:
        net: in training, on the device of the run.
        step: what changes its weights.
        position: where the run is.
        processes: who trains together.
    """

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
        self.step = TrainingStep(net, task, config, fabric, facts)
        self.net, self.processes = self.step.net, self.step.processes
        self.position = Position(config.joint_epochs, len(batches), config.ends_with_heads)
        self._facts = facts
        self._batches, self._val_batches = batches, val_batches
        self._task, self._config = task, config
        self._files = RunFiles(folder, {**config.identity, **identity})
        self._best_weights: dict[str, Tensor] | None = None
        self._lost_best = False

    def train_epoch(self, reporter: Reporter) -> None:
        """The rest of the current epoch."""
        self.net.train()
        position, every = self.position, self._config.checkpoint_steps
        with self._stopping_where_broken():
            for x, labels in self._batches.epoch(position.epoch, position.batch):
                position.add(self.step.take(x, labels, position))
                reporter.step()
                if every and position.step % every == 0 and position.batch < len(self._batches):
                    self.processes.average_buffers(self.net, self.step.scheme)
                    self._check_weights()
                    self._files.save("last", position, self.step)

    def teach_heads(self, images: Batches, reporter: Reporter) -> dict[str, Any]:
        """The heads learn alone, on features of `images`; returns the record of that.

        It is validated and written as an epoch is. All processes do the same, and the first one's heads
        count.
        """
        losses, facts = self._heads_alone(images, reporter)
        record = self.position.close_heads(self._config.head_lr, losses, self._validate(), facts)
        self._keep_best()
        self._files.save("last", self.position, self.step)
        return record

    def teach_heads_again(self, images: Batches, reporter: Reporter) -> dict[str, Any]:
        """The heads of the best epoch learn alone on features of its backbone; returns the record of that.

        A head that validation finds worse than it was is put back; of heads that read each other's answers
        all are, if one is worse.
        """
        position = self.position
        self.put_back_best()
        assert isinstance(self.net, ChainNet)
        heads, together = heads_of(self.net), has_cascade(self.net)
        earlier = [copy.deepcopy(head.state_dict()) for head in heads]
        before = position.best["val"] if position.has_best else []
        losses, facts = self._heads_alone(images, reporter)
        scores = self._validate()
        worse = [new < old for old, new in zip(before, scores, strict=False)]
        if together and any(worse):
            worse, scores = [True] * len(heads), list(before)
        for place in (place for place, is_worse in enumerate(worse) if is_worse):
            heads[place].load_state_dict(earlier[place])
            scores[place : place + 1] = before[place : place + 1]
        facts["kept"] = [not any(worse[place : place + 1]) for place in range(self.net.num_stages)]
        record = position.close_epoch(self._config.head_lr, losses, scores, facts)
        self._note_best()
        # The last one first: whoever is killed between the two has these weights, and no longer the others.
        self._files.save("last", position, self.step)
        self._files.save("best", position, self.step)
        return record

    def finish_epoch(self) -> dict[str, Any]:
        """Validates, chooses, writes the checkpoint; returns the epoch's record."""
        position = self.position
        losses = position.mean_losses(self.net.num_stages)
        self._check_weights()
        self._estimate_missing()
        self.processes.average_buffers(self.net, self.step.scheme)
        with self._final_statistics():
            scores = self._validate()
            lr = learning_rate(self._config, position.step - 1, position.steps_per_epoch)
            record = position.close_epoch(lr, losses, scores)
            # A tie goes to the later epoch, which has trained longer.
            if self._score(scores) >= position.best["score"]:
                self._keep_best()
        self._files.save("last", position, self.step)
        return record

    def resume(self) -> None:
        """Goes back to the last checkpoint, if there is one."""
        if self._files.last is None:
            return
        best = self._files.restore_last(self.position, self.step)
        if best.get("score") is None:
            return
        try:
            self._best_weights = self._files.best_weights(best["epoch"], self.net)
        except TrainingError as error:
            self._lost_best = True
            if self.processes.first:
                notice(
                    f"the best weights so far, those of epoch {best['epoch']}, are lost ({error}): training "
                    "goes on, and the best of what it has from here on is kept"
                )
        else:
            self.position.best = dict(best)

    def replace_lost_best(self) -> None:
        """Takes the last epoch's weights for the best, which are lost, where a run goes on from its end.

        Not before all processes have read the files that this may replace.
        """
        if self._lost_best and self.position.batch == 0 and self.position.history:
            with self._final_statistics():
                self._keep_best()

    def agree(self) -> None:
        """Gives every process the weights and the generators of the first.

        Raises:
            SharedTrainingError: if they would start from different steps.
        """
        mine, first = torch.tensor(self.position.step), torch.tensor(self.position.step)
        self.processes.spread([first])
        if self.processes.total((mine != first).float()):
            raise SharedTrainingError(
                f"the processes read different checkpoints in {self._files.folder}: take out=FOLDER on a "
                "disk that all of them share"
            )
        for module in (self.net, self.step.scheme):
            self.processes.spread([*module.parameters(), *module.buffers()])
        self.processes.spread_generators()

    def release(self) -> None:
        """Gives the net back as it came: with plain BatchNorms."""
        if self._config.sync_batchnorm:
            to_plain(self.net)

    def put_back_best(self) -> None:
        """Puts the best weights so far into the net, if there are any."""
        if self._best_weights is not None:
            self.net.load_state_dict(self._best_weights)
        self.net.eval()

    def result(self) -> TrainResult:
        """Puts the best weights into the net and sums the run up."""
        with self._final_statistics():
            last_weights = copy.deepcopy(self.net.state_dict())
        self.put_back_best()
        position = self.position
        best = position.best
        return TrainResult(best["epoch"], best["val"], position.last_scores, last_weights, position.history)

    def _heads_alone(self, images: Batches, reporter: Reporter) -> tuple[list[float], dict[str, Any]]:
        """The heads learn on features of `images`; returns the loss of each, and facts of the features."""
        net, config, progress = self.net, self._config, Progress.of(reporter)
        assert isinstance(net, ChainNet)
        with self._stopping_where_broken():
            kind = CascadeFirst if has_cascade(net) else HeadsFirst
            heads = kind(net, self._task, config, self._facts, self.step.autocast)
            source = features_of(
                heads.reader(),
                images,
                views=config.head_views,
                seed=config.seed,
                room=Room.here(self._files.folder, self.processes.count),
                device=self.processes.device,
                progress=progress,
                batch=heads.batch,
            )
            losses = heads.learn(source, progress)
        self.processes.spread(
            tensor for head in heads_of(net) for tensor in (*head.parameters(), *head.buffers())
        )
        self._check_weights()
        return losses, {"views": source.views, "features": source.kept}

    def _keep_best(self) -> None:
        """Keeps what the net holds after the last finished epoch, weights and statistics, as the best."""
        self._note_best()
        self._files.save("best", self.position, self.step)

    def _note_best(self) -> None:
        """Takes what the net holds for the best, without writing it."""
        position, scores = self.position, self.position.last_scores
        position.best = {"epoch": position.epoch, "score": self._score(scores), "val": scores}
        self._best_weights = copy.deepcopy(self.net.state_dict())

    def _score(self, scores: Sequence[float]) -> float:
        """What chooses the best epoch. Scores are of fine labels, which not every stage may learn."""
        if not scores:
            return 0.0
        if self._config.select == "last":
            return scores[-1]
        learns = self.step.scheme.targets.learns_fine_labels
        learnt = [score for stage, score in enumerate(scores, 1) if learns(stage)]
        return sum(learnt) / len(learnt)

    @contextmanager
    def _final_statistics(self) -> Iterator[None]:
        """The net as it is validated: with precise statistics, where it is trained with running ones."""
        if self._config.statistics != "precise":
            yield
            return
        with other_statistics(self.net):
            self._estimate(self.net.stages_to_estimate())
            self.processes.average_buffers(self.net)
            yield

    def _estimate_missing(self) -> None:
        """Of a net that does not track them: without, it could neither be validated nor used."""
        missing = self.net.stages_without_statistics()
        if missing:
            self._estimate(missing)

    def _estimate(self, stages: Sequence[int]) -> None:
        """Statistics of `stages` over the first training batches; at most all of an epoch."""
        count = self._config.statistics_batches
        with self._stopping_where_broken(f"after epoch {self.position.epoch + 1} "), self.step.autocast():
            reestimate_statistics(self.net, self._batches, stages=stages, num_batches=count)

    def _validate(self) -> list[float]:
        with self._stopping_where_broken(f"after epoch {self.position.epoch + 1} "):
            if self._val_batches is None:
                check_answers(self.net, self._batches, self.processes, self.step.autocast)
                return []
            return validate(self.net, self._val_batches, self._task, self.processes, self.step.autocast)

    def _check_weights(self) -> None:
        """What a step has broken shows in no loss before the next one."""
        name, position = not_finite(dict(self.net.named_parameters())), self.position
        if name is not None:
            raise self._broken(
                f"{name} holds numbers that are not finite after step {position.step} (epoch "
                f"{position.epoch + 1})"
            )

    @contextmanager
    def _stopping_where_broken(self, when: str = "") -> Iterator[None]:
        """NaN or infinity inside stops all processes of the run, with what is left of it."""
        try:
            yield
        except NotFiniteError as error:
            raise self._broken(f"{when}{error}") from error

    def _broken(self, what: str) -> SharedTrainingError:
        position = self.position
        best = position.best["epoch"] if position.has_best else None
        return self._files.broken(what, best, self._config.lr)
