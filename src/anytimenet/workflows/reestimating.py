"""BatchNorm statistics estimated anew: a bundle with other statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch

from anytimenet.bundle import Bundle
from anytimenet.core.checks import choice, instance, optional, whole_number
from anytimenet.core.errors import DataError
from anytimenet.core.manifest.seen_images import SeenImages
from anytimenet.data import (
    AnyAugmentation,
    Images,
    MaskSet,
    augmentation_for,
    augmentation_from,
    make_loader,
)
from anytimenet.nets.contract import AnytimeNet
from anytimenet.training.statistics import reestimate_statistics
from anytimenet.workflows.evaluating import evaluate
from anytimenet.workflows.images import evaluation_batch, images_for
from anytimenet.workflows.known_images import prints_for
from anytimenet.workflows.reading import Reading, settled_device


def reestimate(
    bundle: Bundle,
    data: Any = None,
    *,
    augmentation: AnyAugmentation | Literal["trained"] | None = "trained",
    num_batches: int | None = None,
    skip_bad: bool = False,
    device: str = "auto",
    workers: int | None = 0,
    data_root: Path | str | None = None,
    trust_paths: bool = False,
) -> Bundle:
    """A new bundle with the same parameters and BatchNorm statistics estimated anew on training images.

    A net whose stages share BatchNorms gets own copies of them for every stage first, so that each stage has
    the statistics of its own features.

    Args:
        bundle: from `fit` or `load`; it is left as it is.
        data: as in `evaluate`; its training part is read, or all of a map-style dataset, `ImageSet` or
            `MaskSet`. By default the data of the training.
        augmentation: of the images. "trained" repeats that of the training (but no mixup or CutMix), which
            the weights are used to: without it even a net whose statistics were good loses
            (reproductions/slicing_vertically).
        num_batches: how many batches of up to 256 images to read, of fewer where large images have masks; all
            by default.
        skip_bad: leave out images that cannot be read.
        device: where the net runs; "auto" takes a CUDA device where there is one, as `fit` does.
        workers: processes that decode images which are read from files, as in `fit`.
        data_root: where the files of data by name are; `$ANYTIMENET_DATA` or `data` by default.
        trust_paths: as in `evaluate`.

    Raises:
        DataError: if the data has other classes than the bundle, or no training images.
        ValueError: if the bundle does not say how its training images were augmented.

    >>> from anytimenet import TrainConfig, create_net, fit
    >>> net = create_net("iresnext_tiny", in_channels=1, normalisation="shared")
    >>> bundle = fit(net, "digits", config=TrainConfig(epochs=1))
    >>> reestimate(bundle).net.normalisation
    'own'
    """
    reading = Reading(bundle, data, skip_bad, data_root, device, workers, trust_paths)
    if isinstance(augmentation, str):
        choice(augmentation, "augmentation", ("trained",))
    elif augmentation is not None:
        instance(augmentation, get_args(AnyAugmentation), "augmentation", "Augmentation(flip=True, pad=4)")
    num_batches = optional(num_batches, "num_batches", whole_number, 1)
    device = settled_device(device)
    images, name, _ = images_for(reading, "train", cut=True)
    if len(images) < 2:
        raise DataError(f"the training part of {name} holds no images to estimate statistics from")
    chosen = _trained_augmentation(bundle) if augmentation == "trained" else augmentation
    net = bundle.net.with_own_norms()
    batches = make_loader(
        images,
        bundle.manifest.preprocessing,
        # As many batches as needed, of nearly equal size: every image counts, and none more than another.
        batch_size=math.ceil(len(images) / math.ceil(len(images) / evaluation_batch(images))),
        augmentation=chosen if chosen is None else augmentation_for(images, chosen),
        shuffle=True,
        workers=workers,
        device=torch.device(device),
    )
    read = reestimate_statistics(net.to(device), batches, num_batches=num_batches)
    fresh = _with_net(bundle, net.cpu().eval(), {"data": name, "batches": read, "device": device})
    val = images_for(reading, "val", cut=True)[0] if reading.has_parts else None
    fresh.seen = _seen_since(bundle, images, val)
    if val is None or len(val) == 0:
        return fresh
    # The images themselves, whose part is settled.
    report = evaluate(fresh, val, split="train", device=device, workers=workers)
    coarser = [[stage.top1 for stage in level.stages] for level in getattr(report.sections, "levels", ())]
    return _with_net(fresh, fresh.net, {}, [report.values, *coarser])


def _seen_since(bundle: Bundle, train: Images | MaskSet, val: Images | MaskSet | None) -> SeenImages | None:
    """The images that the bundle has seen, those that its new statistics and accuracies are of among them."""
    learnt, chose = (None if part is None else prints_for(bundle, part, "the data") for part in (train, val))
    none = np.zeros(0, np.uint64)
    return bundle.seen and bundle.seen.and_learnt_from(
        none if learnt is None else learnt, none if chose is None else chose
    )


def _trained_augmentation(bundle: Bundle) -> AnyAugmentation | None:
    provenance = bundle.manifest.provenance
    for place in (provenance, provenance.get("experiment")):
        if isinstance(place, dict) and "augmentation" in place:
            try:
                return augmentation_from(place["augmentation"])
            except (TypeError, ValueError, AttributeError) as error:
                raise ValueError(
                    f"what the bundle says of the augmentation in its training cannot be used ({error}); "
                    "it may be of a newer anytimenet: give augmentation=None for none, or "
                    "Augmentation(flip=..., pad=...)"
                ) from error
    raise ValueError(
        "the bundle does not say how its training images were augmented: give augmentation=None for none, "
        "or Augmentation(flip=..., pad=...)"
    )


def _with_net(
    bundle: Bundle,
    net: AnytimeNet,
    reestimated: dict[str, Any],
    val_accuracies: Sequence[Sequence[float]] | None = None,
) -> Bundle:
    """`bundle` with another net of the same stages, and without what was measured of the old one.

    `val_accuracies` has one row a label level, fine level first, one entry a stage in each.
    """
    m = bundle.manifest
    rows = val_accuracies or []
    fresh = Bundle.create(
        net,
        class_names=m.class_names,
        preprocessing=m.preprocessing,
        taxonomy=m.taxonomy,
        val_accuracies=rows[0] if rows else None,
        coarser_val_accuracies=list(zip(*rows[1:], strict=True)) or None,
        provenance={**m.provenance, **({"reestimated": reestimated} if reestimated else {})},
        rules=bundle.rules,
        task=m.task,
        score=m.score,
        seen=bundle.seen,
    )
    fresh.fitted_here = bundle.fitted_here
    fresh.manifest = replace(fresh.manifest, extensions={**m.extensions, **fresh.manifest.extensions})
    return fresh
