"""Outputs of every stage over a whole data set: what evaluation starts from."""

from __future__ import annotations

import numpy as np
import torch

from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.finite import check_finite
from anytimenet.training.batches import Batches


@torch.inference_mode()
def collect_logits(net: AnytimeNet, batches: Batches) -> tuple[list[list[np.ndarray]], np.ndarray]:
    """Runs `net` in eval mode over `batches`.

    Returns:
        logits: for each stage and label level an array `(examples, classes)`, float32.
        labels: `(examples, levels)`.

    Raises:
        NotFiniteError: if a stage answers with NaN or infinity.
    """
    was_training = net.training
    net.eval()
    found: list[list[list[np.ndarray]]] = [[[] for _ in net.num_classes] for _ in range(net.num_stages)]
    labels: list[np.ndarray] = []
    try:
        for x, batch_labels in batches.epoch(0):
            for number, (stage, output) in enumerate(zip(found, net(x), strict=True), 1):
                check_finite(number, output)
                for level, logits in zip(stage, output, strict=True):
                    level.append(logits.float().cpu().numpy())
            labels.append(np.stack([level.cpu().numpy() for level in batch_labels], axis=1))
    finally:
        net.train(was_training)
    return [[np.concatenate(level) for level in stage] for stage in found], np.concatenate(labels)
