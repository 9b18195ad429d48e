"""What 8-bit segments are calibrated with, and what they turn out to be worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from anytimenet.core.checks import whole_number
from anytimenet.core.errors import DataError
from anytimenet.core.manifest.records import TASKS
from anytimenet.data import Images, MaskSet
from anytimenet.runtime import Backend, ExportedNet
from anytimenet.runtime.exported.record import ExportRecord
from anytimenet.runtime.paths import path_to
from anytimenet.workflows.images import images_for, plain_loader
from anytimenet.workflows.reading import Reading

MOST = 4096
"""Images that calibrate: more of them change no range."""


@dataclass(frozen=True)
class Quantised:
    """8-bit segments compared with the float32 net that they were made of.

    Attributes:
        images: that calibrated.
        compared: images that they were compared on, which did not calibrate.
        agreement: of each stage the share of answers, on fine labels, that are the same.
        accuracies: of each stage, one a label level, fine level first; None where nothing validates.
        before: the same of the float32 net.
    """

    images: int
    compared: int
    agreement: tuple[float, ...]
    accuracies: tuple[tuple[float, ...], ...] | None
    before: tuple[tuple[float, ...], ...] | None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "images": self.images,
            "compared": self.compared,
            "agreement": list(self.agreement),
            "accuracies": None if self.accuracies is None else [list(row) for row in self.accuracies],
            "before": None if self.before is None else [list(row) for row in self.before],
        }


def calibration_images(reading: Reading, count: int) -> np.ndarray:
    """Standardised training images, spread over the whole of them: float32 `(N, C, H, W)`.

    Raises:
        DataError: if the data has no training images.
        ValueError: for a net that predicts no labels of images.
    """
    count = whole_number(count, "int8", 1, MOST)
    kind = reading.bundle.manifest.task_kind
    if kind not in TASKS or kind == "segmentation":
        raise ValueError(
            f"int8 is measured on labels of images, and this net is one for {kind}: leave it out"
        )
    images, name, _ = images_for(reading, "train", cut=True)
    if not len(images):
        raise DataError(f"the training part of {name} holds no images to calibrate with")
    chosen = np.unique(np.linspace(0, len(images) - 1, count).astype(int))
    found = [x.numpy() for x, _ in _batches(images, reading)]
    return np.ascontiguousarray(np.concatenate(found)[chosen])


def check_reaches(num_stages: int, segments: Sequence[tuple[int, int]]) -> None:
    """Raises ValueError unless segments go to every stage, to be compared there."""
    for stage in range(1, num_stages + 1):
        if not any(stop == stage for _, stop in segments):
            raise ValueError(
                f"segments: none goes to stage {stage}, and 8-bit segments are compared at every stage: add "
                f"(0, {stage}), or slice the bundle first"
            )


def compare(exported: ExportedNet, reading: Reading, images: int) -> Quantised:
    """Runs 8-bit segments and the float32 net on the validation images, else on test images."""
    split = "val" if reading.has_parts and len(images_for(reading, "val", cut=True)[0]) else "test"
    chosen, _, _ = images_for(reading, split, cut=True)
    backend, net = exported.backend, reading.bundle.net.eval()
    stages = range(1, net.num_stages + 1)
    same, count = np.zeros(len(stages)), 0
    right = np.zeros((2, len(stages), len(net.num_classes)))
    for x, labels in _batches(chosen, reading):
        with torch.inference_mode():
            exact = [[level.numpy().argmax(1) for level in output] for output in net(x)]
        for place, stage in enumerate(stages):
            ours = _answers(backend, stage, x.numpy())
            same[place] += (ours[0] == exact[place][0]).sum()
            for level, truth in enumerate(labels):
                right[0, place, level] += (ours[level] == truth.numpy()).sum()
                right[1, place, level] += (exact[place][level] == truth.numpy()).sum()
        count += len(x)
    if not count:
        raise DataError("no images are left to compare 8-bit segments on: name data that has some")
    now, before = (tuple(tuple(row) for row in one) for one in (right / count).tolist())
    agreement = tuple((same / count).tolist())
    validated = split == "val"
    return Quantised(images, count, agreement, now if validated else None, before if validated else None)


def with_found(record: ExportRecord, found: Quantised) -> ExportRecord:
    """The record of an 8-bit export with its own accuracies."""
    about = {**record.about, "int8": found.to_dict()}
    if found.accuracies is None:
        return replace(record, about=about)
    stages = tuple(
        replace(stage, val_accuracy=fine, coarser_val_accuracies=tuple(coarser))
        for stage, (fine, *coarser) in zip(record.net.stages, found.accuracies, strict=True)
    )
    return replace(record, net=replace(record.net, stages=stages), about=about)


def _answers(backend: Backend, stage: int, x: np.ndarray) -> list[np.ndarray]:
    state = backend.begin(x)
    for segment in path_to(stage, 0, 0, backend.segments):
        state, output = backend.run(*segment, state)
    backend.release(state)
    return [level.argmax(1) for level in output]


def _batches(images: Images | MaskSet, reading: Reading) -> Iterator[tuple[torch.Tensor, Any]]:
    preprocessing = reading.bundle.manifest.preprocessing
    loader = plain_loader(images, preprocessing, torch.device("cpu"), workers=reading.workers)
    yield from loader.epoch(0)
