"""What a net says in eval mode: its validation scores over all processes, and its outputs one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from anytimenet.core.errors import NotFiniteError
from anytimenet.nets.contract import AnytimeNet, Output
from anytimenet.nets.finite import check_finite
from anytimenet.tasks import Task
from anytimenet.training.processes import Processes


class Batches(Protocol):
    """Batches of an epoch, or one process's share of every batch; `data.Loader` is one."""

    def __len__(self) -> int:
        """Batches in an epoch; the same for all processes that train together."""

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
        """The batches of an epoch from `start` on; a pure function of its arguments."""


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

    Raises:
        NotFiniteError: in every process, if a stage answered with NaN or infinity in any.
    """
    net.eval()
    meter = task.meter()
    broken = torch.zeros(net.num_stages, dtype=torch.int64, device=processes.device)
    for x, labels in batches.epoch(0):
        if len(x) == 0:
            continue  # fewer images than processes
        with autocast():
            outputs = net(x)
        broken += _broken(outputs)
        for stage, output in enumerate(outputs, 1):
            meter.update(stage, output, labels)
    _check(broken, processes)
    if processes.count > 1:
        meter.add_up(range(1, net.num_stages + 1), processes.total)
    scores = meter.scores()
    return [scores[stage] for stage in sorted(scores)]


@torch.inference_mode()
def check_answers(
    net: AnytimeNet,
    batches: Batches,
    processes: Processes,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> None:
    """Looks at what the net says in eval mode to the first batch, where there is none to validate it on.

    Raises:
        NotFiniteError: in every process, if a stage answered with NaN or infinity in any.
    """
    net.eval()
    x, _ = next(iter(batches.epoch(0)))
    with autocast():
        outputs = net(x)
    _check(_broken(outputs), processes)


@torch.inference_mode()
def answers(net: AnytimeNet, batches: Batches) -> Iterator[tuple[list[Output], tuple[Tensor, ...]]]:
    """The outputs of all stages for each batch, in eval mode and without a graph, with its labels.

    Raises:
        NotFiniteError: if a stage answers with NaN or infinity.
    """
    was_training = net.training
    net.eval()
    try:
        for x, labels in batches.epoch(0):
            outputs = net(x)
            for stage, output in enumerate(outputs, 1):
                check_finite(stage, output)
            yield outputs, labels
    finally:
        net.train(was_training)


def collect_logits(net: AnytimeNet, batches: Batches) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Runs `net` in eval mode over `batches`; raises what `answers` does.

    Returns:
        logits: for each stage and label level an array `(examples, classes)`, float32.
        labels: `(examples, levels)`.
    """
    collected: list[list[list[np.ndarray]]] = [[[] for _ in net.num_classes] for _ in range(net.num_stages)]
    labels: list[np.ndarray] = []
    for outputs, batch_labels in answers(net, batches):
        for stage, output in zip(collected, outputs, strict=True):
            for level, logits in zip(stage, output, strict=True):
                level.append(logits.float().cpu().numpy())
        labels.append(np.stack([level.cpu().numpy() for level in batch_labels], axis=1))
    return [[np.concatenate(level) for level in stage] for stage in collected], np.concatenate(labels)


def _broken(outputs: Sequence[Output]) -> Tensor:
    """For each stage whether its output is not finite, int64 `(stages,)`."""
    return torch.stack([torch.stack([~torch.isfinite(z).all() for z in o]).any() for o in outputs]).long()


def _check(broken: Tensor, processes: Processes) -> None:
    stages = processes.total(broken).nonzero().flatten().tolist()
    if stages:
        raise NotFiniteError.of_stage(stages[0] + 1)
