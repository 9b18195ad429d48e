"""The validation scores of all stages, over all processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from anytimenet.nets.contract import AnytimeNet
from anytimenet.tasks import Task
from anytimenet.training.batches import Batches
from anytimenet.training.processes import Processes


@torch.inference_mode()
def validate(
    net: AnytimeNet,
    batches: Batches,
    task: Task,
    processes: Processes,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> list[float]:
    """The score of each stage, from stage 1 on, in eval mode.

    Each process runs its share of the images; what the meters counted is added up before the scores are
    computed, so that they are those of one process that sees all images.
    """
    net.eval()
    meter = task.meter()
    for x, labels in batches.epoch(0):
        if len(x) == 0:
            continue  # fewer images than processes
        with autocast():
            outputs = net(x)
        for stage, output in enumerate(outputs, 1):
            meter.update(stage, output, labels)
    if processes.count > 1:
        meter.add_up(range(1, net.num_stages + 1), processes.total)
    scores = meter.scores()
    return [scores[stage] for stage in sorted(scores)]
