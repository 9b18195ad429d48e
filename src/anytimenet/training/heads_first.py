"""Heads that learn alone, on features of a backbone that stays as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from anytimenet.core.errors import NotFiniteError
from anytimenet.nets.chain.chain import ChainNet
from anytimenet.schemes import RunFacts
from anytimenet.schemes.hooks import Lesson, Targets
from anytimenet.tasks import Task
from anytimenet.training.config import TrainConfig
from anytimenet.training.feature_cache import BATCH
from anytimenet.training.features import (
    SILENT,
    Examples,
    FeatureReader,
    FeatureSource,
    HeadsAlone,
    Progress,
)
from anytimenet.training.regimes import can_learn
from anytimenet.training.standardising import Standardised, standardised

_MOMENT_BATCHES = 32
"""Over which means and deviations of features are taken: 4,096 stored examples."""


class HeadsFirst:
    """Teaches the heads of a net whose backbone stays bit for bit as it is.

    Every head learns what the run's scheme gives it as target, in every step and with weight 1: how stages
    are sampled, weighted and how their gradients combine settles what they share, and heads share nothing.
    A head whose weights all have requires_grad=False stays as it is. Dropout and BatchNorm of the heads act
    as in training. All that is random follows from the seed; torch's generators are left alone.

    The optimiser is AdamW. A head that begins with linear layers reads standardised features while it learns,
    for pooled channels differ in scale: `training.standardising`.

    Args:
        net: on the device of the run.
        task: owns the loss.
        config: its `head_*` fields, scheme and seed.
        facts: for the targets.
        autocast: the number format in which the net runs.
    """

    batch = BATCH

    def __init__(
        self,
        net: ChainNet,
        task: Task,
        config: TrainConfig,
        facts: RunFacts,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self._net, self._task, self._config, self._autocast = net, task, config, autocast
        self._heads = HeadsAlone(net)
        self._targets: Targets = config.chosen_scheme.targets.build(self._heads, facts)
        self._device = next(net.parameters()).device
        self._targets.to(self._device)
        self._learning = [stage for stage, head in enumerate(net.heads, 1) if can_learn(head)]

    def reader(self) -> FeatureReader:
        """What computes the features that `learn` takes."""
        self._net.eval()
        return FeatureReader(self._net, self._targets, self._autocast)

    def learn(self, source: FeatureSource, progress: Progress = SILENT) -> list[float]:
        """Trains the heads on all epochs; returns the mean loss of each stage in the last one.

        Raises:
            NotFiniteError: if a loss is NaN or infinity.
        """
        config = self._config
        optimiser = torch.optim.AdamW(
            (p for p in self._heads.parameters() if p.requires_grad),
            lr=config.head_lr,
            weight_decay=config.head_weight_decay,
            fused=True,
        )
        forms = self._forms(source)
        progress.phase("heads learn alone", config.head_epochs)
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(config.seed)
            for form in forms.values():
                form.enter()
            for stage in self._learning:
                self._net.heads[stage - 1].train()
            losses = learn_epochs(
                optimiser,
                config.head_epochs,
                source,
                lambda examples: self._step(examples, forms),
                progress,
            )
        for form in forms.values():
            form.leave()
        self._net.eval()
        return check_losses(losses)

    def _forms(self, source: FeatureSource) -> dict[int, Standardised]:
        """For the stages whose head begins with linear layers how it reads standardised features."""
        # Of features that are maps no moments are taken, and so many of them would fill the memory.
        batches = [
            [x if x.ndim == 2 else x.new_empty(0, *x.shape[1:]) for x in examples.features]
            for examples in islice(source.epoch(0), _MOMENT_BATCHES)
        ]
        self._net.eval()
        found = {}
        for stage in self._learning:
            head = self._net.heads[stage - 1]
            # The numbers of the weights, whatever those of the run: moments are taken once.
            features = torch.cat([batch[stage - 1] for batch in batches]).to(next(head.parameters()).dtype)
            form = standardised(head, head.predict, features)  # type: ignore[arg-type]
            if form is not None:
                found[stage] = form
        return found

    def _step(self, examples: Examples, forms: Mapping[int, Standardised]) -> Tensor:
        """The loss of each stage, with gradients on the heads that learn."""
        stages = range(1, self._net.num_stages + 1)
        features: Any = tuple(
            forms[stage](x) if stage in forms else x
            for stage, x in zip(stages, examples.features, strict=True)
        )
        with self._autocast():
            group = list(zip(stages, self._heads(features), strict=True))
            taught = examples.taught or self._targets.teach(features, tuple(stages))
            lesson = Lesson(examples.labels, self._task.loss, taught=taught)
            lesson.outputs.update((stage, tuple(z.detach() for z in output)) for stage, output in group)
            losses = torch.stack(self._targets.losses(group, lesson))
        losses[[stage - 1 for stage in self._learning]].sum().backward()
        return losses.detach()


def learn_epochs(
    optimiser: torch.optim.Optimizer,
    epochs: int,
    source: FeatureSource,
    step: Callable[[Examples], Tensor],
    progress: Progress,
) -> list[float]:
    """Passes over features with a rate that falls from the optimiser's own to zero along a cosine.

    `step` gives the detached losses of a batch and leaves gradients. Returns their means in the last pass.
    """
    total, done, losses = epochs * len(source), 0, torch.zeros(())
    rates = [group["lr"] for group in optimiser.param_groups]
    for epoch in range(epochs):
        losses = torch.zeros(())
        for examples in source.epoch(epoch):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * (1 + math.cos(math.pi * done / total)) / 2
            optimiser.zero_grad(set_to_none=True)
            found = step(examples)
            losses = losses.to(found) + found
            optimiser.step()
            done += 1
        progress.step()
    means: list[float] = (losses / len(source)).tolist()
    return means


def check_losses(means: list[float]) -> list[float]:
    """The losses of all stages as given. Raises NotFiniteError for one that is no number."""
    for stage, loss in enumerate(means, 1):
        if not math.isfinite(loss):
            raise NotFiniteError(f"the loss of stage {stage} is {loss} where its head learns alone")
    return means
