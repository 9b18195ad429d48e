"""Recipes for the first minutes: digits that need no download, and any folder of images."""

from __future__ import annotations

from dataclasses import replace

from anytimenet.data import Augmentation
from anytimenet.recipes.experiment import Experiment, register_recipe
from anytimenet.training import TrainConfig, preset


@register_recipe(
    summary="an IS-ResNeXt with 4 stages on scikit-learn's 1,797 handwritten digits",
    command="anytimenet train digits",
    hardware="2 CPU cores",
    minutes=1,
    expected="stage 1 about 98 %, last stage about 99 % of the held-out 30 % (reproductions/digits)",
)
def digits() -> Experiment:
    """Real images that ship inside scikit-learn; the quickstart's experiment."""
    return Experiment(
        data="digits",
        net="isresnext_small",
        # Chosen on validation images over five seeds. A hundred of them cannot tell two good stages apart,
        # so the checkpoint is chosen by the mean over stages.
        config=TrainConfig(
            epochs=60,
            batch_size=64,
            statistics="running",
            lr=0.1,
            weight_decay=5e-4,
            schedule="cosine",
            warmup=0.25,
            label_smoothing=0.1,
            select="mean",
        ),
        augmentation=Augmentation(flip=False, pad=1),
    )


@register_recipe(
    summary="a small IS-ResNeXt on any folder with one sub-folder of images a class",
    command="anytimenet train folder --data folder:PATH --image-size 32 --epochs 10",
    hardware="2 CPU cores for thousands of small images",
    minutes=10,
    expected="depends on the images; the table of validation and test accuracy is printed",
)
def folder() -> Experiment:
    """Your own images; give `--data folder:PATH`."""
    return Experiment(
        data="",
        net="isresnext_small",
        # Of a stranger's images nothing is known but their number.
        config=replace(preset("fast", epochs=10), batch_size=None, statistics="auto"),
        augmentation=Augmentation(flip=True, pad=2),
    )
