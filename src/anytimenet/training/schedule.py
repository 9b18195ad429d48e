"""Learning rates as a pure function of the step, so that resuming needs no stored schedule."""

from __future__ import annotations

import math

from anytimenet.training.config import TrainConfig

_WARMUP_START = 1 / 25


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The rate of step `step`, counted from 0 over the whole run.

    "multistep" changes between epochs, as the papers do; warm-up and "cosine" change with every step.

    >>> config = TrainConfig(epochs=4, lr=1.0, milestones=(0.5, 0.75))
    >>> [round(learning_rate(config, 10 * epoch, 10), 4) for epoch in range(4)]
    [1.0, 1.0, 0.1, 0.01]
    """
    total = config.epochs * steps_per_epoch
    warmup = round(config.warmup * total)
    if step < warmup:
        share = step / warmup
        return config.lr * (_WARMUP_START + (1 - _WARMUP_START) * (1 - math.cos(math.pi * share)) / 2)
    if config.schedule == "multistep":
        epoch = step // steps_per_epoch
        passed = sum(epoch >= round(milestone * config.epochs) for milestone in config.milestones)
        factors = config.lr_factors or (0.1,) * len(config.milestones)
        return config.lr * math.prod(factors[:passed])
    share = (step - warmup) / max(1, total - warmup)
    return config.lr * (1 + math.cos(math.pi * share)) / 2
