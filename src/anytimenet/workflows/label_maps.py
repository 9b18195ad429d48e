"""Label maps of single images from a segmentation bundle, and what to write them into."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anytimenet.bundle import Bundle
from anytimenet.bundle.inputs import as_input
from anytimenet.core import checks
from anytimenet.core.files.writing import write_bytes
from anytimenet.core.labels.mask_classes import MaskClasses
from anytimenet.data import MaskSet
from anytimenet.evaluation import format_count, plot_masks
from anytimenet.nets.finite import check_finite
from anytimenet.tasks import Segmentation


@dataclass(frozen=True, eq=False)
class LabelMap:
    """What one stage says of the pixels of one image.

    Attributes:
        classes: uint8 `(H, W)`, the class of each pixel of the net's input, class 0 first.
        stage: the stage that gave it, counted from 1.
        macs: counted multiply-adds of that stage's sub-network.
        elapsed_ms: wall-clock time of preprocessing, the sub-network and decoding.
        over_budget: true if even stage 1 costs more than the budget given.
    """

    classes: np.ndarray
    stage: int
    macs: int
    elapsed_ms: float
    over_budget: bool = False

    def shares(self, names: Sequence[str]) -> dict[str, float]:
        """The share of the pixels of each class that appears, largest first."""
        counts = np.bincount(self.classes.ravel(), minlength=len(names)) / self.classes.size
        order = np.argsort(-counts, kind="stable")
        return {names[i]: float(counts[i]) for i in order if counts[i] > 0}


def label_map(
    bundle: Bundle, image: Any, *, stage: int | None = None, budget_macs: float | None = None
) -> LabelMap:
    """The class of every pixel of one image, at the size of the net's input.

    Args:
        bundle: of a segmentation net.
        image: as `Bundle.predict` reads it.
        stage: the stage to answer with; by default the best on validation data.
        budget_macs: multiply-adds that may be spent, as in `Bundle.predict`.

    Raises:
        ValueError: for a bundle that gives one label an image, input that is no image, a stage that does not
            exist, or both a stage and a budget.
    """
    _classes(bundle)
    stage, over_budget = bundle.manifest.answering_stage(stage, budget_macs)
    sub_network = bundle.segment_for(stage)
    began = time.perf_counter()
    x = as_input(image, bundle.manifest.preprocessing)
    weight = next(sub_network.parameters())
    with torch.inference_mode():
        output = sub_network((x.to(weight.device, weight.dtype),))
        check_finite(stage, output)
        classes = Segmentation(bundle.net.num_classes).class_map(output, x.shape[2:])
    return LabelMap(
        classes[0].cpu().numpy(),
        stage,
        bundle.manifest.stages[stage - 1].macs,
        1000 * (time.perf_counter() - began),
        over_budget,
    )


def write_masks(bundle: Bundle, image: Path | str, folder: Path | str) -> list[Path]:
    """Writes the label map of every stage, and one picture of the image with all of them.

    `STEM-stage-K.png` are masks as the training masks are: the value of a pixel is that of its class, shown
    in the classes' colours. `STEM-stages.png` is for people.

    Args:
        bundle: of a segmentation net.
        image: an image file.
        folder: where to write; it is made if it is missing.

    Returns:
        The paths of the masks, stage 1 first.

    Raises:
        ValueError: for a bundle that gives one label an image, or a file that is no image.
    """
    classes, image = _classes(bundle), checks.path(image, "image")
    folder, stem = checks.folder(folder, "folder"), image.stem
    maps = _all_stages(bundle, image)
    paths = [folder / f"{stem}-stage-{each.stage}.png" for each in maps]
    for path, each in zip(paths, maps, strict=True):
        write_bytes(path, classes.png(each.classes))
    pixels = bundle.manifest.preprocessing.decode(image)
    plot_masks(
        pixels,
        [each.classes for each in maps],
        classes,
        folder / f"{stem}-stages.png",
        titles=_titles(bundle),
    )
    return paths


def draw_masks(bundle: Bundle, images: MaskSet, place: int, path: Path | str) -> Path:
    """Draws one image of a `MaskSet` with its true mask and the label map of every stage, side by side.

    Args:
        bundle: of a segmentation net.
        images: images with masks, decoded as the bundle's preprocessing does: they are neither resized nor
            cut again.
        place: of the image, from 0.
        path: a .png, .pdf or .svg file.

    Raises:
        ValueError: for a bundle that gives one label an image, or images of another size than it reads.
    """
    pixels, classes = images.images[place], _classes(bundle)
    x = torch.from_numpy(bundle.manifest.preprocessing.standardise(pixels[None]))
    maps = [each.classes for each in _all_stages(bundle, x)]
    return plot_masks(pixels, maps, classes, path, truth=images.masks[place], titles=_titles(bundle))


def _all_stages(bundle: Bundle, image: Any) -> list[LabelMap]:
    return [label_map(bundle, image, stage=stage) for stage in range(1, bundle.num_stages + 1)]


def _classes(bundle: Bundle) -> MaskClasses:
    classes = checks.instance(bundle, Bundle, "bundle", "load(PATH)").manifest.mask_classes
    if classes is None:
        raise ValueError("this bundle gives one label an image, no label maps: use Bundle.predict")
    return classes


def _titles(bundle: Bundle) -> list[str]:
    """What a picture says of each stage: its number and its multiply-adds."""
    return [f"stage {r.stage}: {format_count(r.macs)} multiply-adds" for r in bundle.manifest.stages]
