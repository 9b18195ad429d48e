"""Semantic segmentation: every exit labels all pixels of a road scene."""

from __future__ import annotations

from dataclasses import replace

from anytimenet.data import DataOptions, MaskAugmentation
from anytimenet.recipes.experiment import Experiment, register_recipe
from anytimenet.training import preset


@register_recipe(
    summary="label maps at four exits: a small FCN on images with masks, at 96x128 pixels, 15 epochs",
    command="anytimenet train segmentation --data camvid:PATH",
    hardware="2 CPU cores for a few hundred small images",
    minutes=3,
    expected="mean IoU of every exit over its multiply-adds, and masks.png with one street at every exit",
)
def segmentation() -> Experiment:
    """CamVid or your own masks; give `--data camvid:PATH` or `--data masks:PATH`."""
    return Experiment(
        data="",
        net="fcn_exits_small",
        options=DataOptions(image_size=(96, 128)),
        config=replace(preset("fast"), epochs=15, batch_size=16, lr=0.1),
        augmentation=MaskAugmentation(flip=True, pad=8),
    )
