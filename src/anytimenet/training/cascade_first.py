"""Zero Time Waste: a cascade of heads learns on a backbone that stays as it is, then their ensembles."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from anytimenet.nets.chain.chain import ChainNet
from anytimenet.schemes import RunFacts
from anytimenet.schemes.hooks import Lesson, Targets
from anytimenet.tasks import Task
from anytimenet.training.cascades import CascadeAlone, CascadeReader
from anytimenet.training.config import TrainConfig
from anytimenet.training.features import SILENT, Examples, FeatureSource, Progress
from anytimenet.training.heads_first import check_losses, learn_epochs
from anytimenet.training.regimes import can_learn


class CascadeFirst:
    """Teaches what `zero_time_waste` put on a backbone; the backbone stays bit for bit as it is.

    Source: Wojcik et al., "Zero time waste in pre-trained early exit neural networks".

    1. The heads, by the mean over all outputs, the backbone's own included, of what the scheme's targets say:
       labels, or labels and later answers (`Distillation("later", label_weight=1)`). No gradient goes from a
       head to the one before. Adam whose weight decay is part of the gradient; `head_epochs` passes.
    2. The ensembles, by the mean cross-entropy of their answers, with all heads as they are and in eval mode.
       Adam without decay; `ensemble_epochs` passes.

    The backbone's own head learns in 1. only if its weights have requires_grad, `zero_time_waste(keep_last=
    False)`. Both rates begin at `head_lr` and fall to zero along a cosine.

    Args:
        net: on the device of the run.
        task: owns the loss.
        config: its `head_*` fields, `ensemble_epochs`, scheme and seed.
        facts: for the targets.
        autocast: the number format in which the net runs.
    """

    batch = 64
    """Examples of a step, as published."""

    def __init__(
        self,
        net: ChainNet,
        task: Task,
        config: TrainConfig,
        facts: RunFacts,
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self._net, self._task, self._config, self._autocast = net, task, config, autocast
        self._alone = CascadeAlone(net)
        self._targets: Targets = config.chosen_scheme.targets.build(self._alone, facts)
        self._device = next(net.parameters()).device
        self._targets.to(self._device)

    def reader(self) -> CascadeReader:
        """What computes the features that `learn` takes."""
        self._net.eval()
        return CascadeReader(self._net, self._alone, self._targets, self._autocast)

    def learn(self, source: FeatureSource, progress: Progress = SILENT) -> list[float]:
        """Trains heads, then ensembles; returns the mean loss of each stage in the last pass of each.

        Raises:
            NotFiniteError: if a loss is NaN or infinity.
        """
        config, alone = self._config, self._alone
        with torch.random.fork_rng([self._device] if self._device.type == "cuda" else []):
            torch.manual_seed(config.seed)
            self._net.eval()
            learning = [head for head in alone.heads if can_learn(head)]
            for head in learning:
                head.train()
            adam = _adam(learning, config.head_lr, config.head_weight_decay)
            progress.phase("heads learn alone", config.head_epochs)
            losses = learn_epochs(adam, config.head_epochs, source, self._step_of_heads, progress)
            self._net.eval()
            together: list[float] = []
            if can_learn(alone.ensembles):
                adam = _adam(list(alone.ensembles), config.head_lr, 0.0)
                progress.phase("ensembles of heads learn", config.ensemble_epochs)
                together = learn_epochs(
                    adam, config.ensemble_epochs, source, self._step_of_ensembles, progress
                )
        return check_losses(alone.by_stage(losses, together))

    def _step_of_heads(self, examples: Examples) -> Tensor:
        """The loss of each head, with gradients on those that learn."""
        stages = range(1, self._alone.num_stages + 1)
        with self._autocast():
            group = list(zip(stages, self._alone(examples.features), strict=True))
            taught = examples.taught or self._targets.teach(examples.features, tuple(stages))  # type: ignore[arg-type]
            lesson = Lesson(examples.labels, self._task.loss, taught=taught)
            lesson.outputs.update((stage, tuple(z.detach() for z in output)) for stage, output in group)
            losses = torch.stack(self._targets.losses(group, lesson))
        losses.mean().backward()
        return losses.detach()

    def _step_of_ensembles(self, examples: Examples) -> Tensor:
        """The loss of each ensemble, with gradients on their weights alone."""
        with self._autocast():
            with torch.no_grad():
                answers = self._alone.answers(examples.features)
            outputs = self._alone.together(answers)
            losses = torch.stack([self._task.loss(output, examples.labels) for output in outputs])
        losses.mean().backward()
        return losses.detach()


def _adam(modules: list[torch.nn.Module], lr: float, decay: float) -> torch.optim.Adam:
    weights = [p for module in modules for p in module.parameters() if p.requires_grad]
    return torch.optim.Adam(weights, lr=lr, weight_decay=decay)
