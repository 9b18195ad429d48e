"""Evaluation of nets that label pixels: the counts of every stage over a split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from anytimenet.bundle import Bundle
from anytimenet.core.errors import DataError
from anytimenet.core.manifest.cost_table import Latency
from anytimenet.evaluation import SegmentationReport, make_segmentation_report
from anytimenet.nets.contract import AnytimeNet
from anytimenet.nets.finite import check_finite
from anytimenet.tasks import Segmentation
from anytimenet.training import Batches
from anytimenet.workflows.images import images_for, plain_loader
from anytimenet.workflows.reading import Split, settled_device


def evaluate_masks(
    bundle: Bundle,
    data: Any = None,
    *,
    split: Split = "test",
    skip_bad: bool = False,
    data_root: Path | str | None = None,
    device: str = "auto",
    latencies: list[Latency] | None = None,
    trust_paths: bool = False,
) -> SegmentationReport:
    """What `evaluate` does with a net that labels pixels; the arguments are its own.

    Raises:
        DataError: if the data has no masks, other classes than the bundle, or the split is empty.
    """
    device = settled_device(device)
    images, name, judged = images_for(bundle, data, split, skip_bad, data_root, trust_paths)
    if len(images) == 0:
        raise DataError(f"the {judged} split of {name} holds no images: choose another split or data")
    batches = plain_loader(images, bundle.manifest.preprocessing, torch.device(device))
    task = Segmentation(bundle.net.num_classes)
    confusions = count_pixels(bundle.net.to(device), batches, task)
    bundle.net.cpu()
    return make_segmentation_report(
        confusions,
        bundle.stage_costs(),
        bundle.manifest.class_names[0],
        count=len(images),
        data=name,
        split=judged,
        latencies=latencies,
        device=device,
    )


@torch.inference_mode()
def count_pixels(net: AnytimeNet, batches: Batches, task: Segmentation) -> list[np.ndarray]:
    """Runs `net` in eval mode over `batches`.

    Returns:
        For each stage the counts int64 `(classes, classes)`, the truth in rows, the answers in columns.

    Raises:
        NotFiniteError: if a stage answers with NaN or infinity.
    """
    was_training = net.training
    net.eval()
    meter = task.meter()
    for x, labels in batches.epoch(0):
        for stage, output in enumerate(net(x), 1):
            check_finite(stage, output)
            meter.update(stage, output, labels)
    net.train(was_training)
    return [meter.confusion(stage) for stage in range(1, net.num_stages + 1)]
